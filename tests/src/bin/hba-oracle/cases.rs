//! The files that are put before the servers: written by hand, one question each, and generated.

// Long, because it is a list of cases.

/// One or more files; the first is read by the server.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hba,
    Ident,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hba => "hba",
            Self::Ident => "ident",
        }
    }

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Hba => "pg_hba.conf",
            Self::Ident => "pg_ident.conf",
        }
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines) in HBA {
        for (n, chunk) in lines.chunks(6).enumerate() {
            let text = chunk.join("\n") + "\n";
            cases.push(single(format!("{name}-{n}"), Kind::Hba, text));
        }
    }
    for (name, text) in RAW {
        cases.push(single((*name).to_owned(), Kind::Hba, *text));
    }
    for (name, text) in IDENT {
        cases.push(single((*name).to_owned(), Kind::Ident, *text));
    }
    for (name, kind, files) in TREES {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        cases.push(Case {
            id: (*name).to_owned(),
            kind: *kind,
            files,
        });
    }
    cases.extend(long());
    let mut random = Random(0x5eed_2026);
    for n in 0..220 {
        let text = random.hba_file();
        cases.push(single(format!("random-{n}"), Kind::Hba, text));
    }
    for n in 0..60 {
        let text = random.ident_file();
        cases.push(single(format!("random-ident-{n}"), Kind::Ident, text));
    }
    for n in 0..40 {
        let mut files = vec![("pg_hba.conf".to_owned(), random.hba_tree_file())];
        for name in ["a", "b", "d/1.conf", "d/2.conf", "d/.hidden.conf"] {
            files.push((name.to_owned(), random.hba_tree_file()));
        }
        cases.push(Case {
            id: format!("random-tree-{n}"),
            kind: Kind::Hba,
            files,
        });
    }
    for n in 0..80 {
        let text = random.bytes();
        let kind = if n % 4 == 3 { Kind::Ident } else { Kind::Hba };
        cases.push(single(format!("bytes-{n}"), kind, text));
    }
    cases
}

fn single(id: String, kind: Kind, text: impl Into<Vec<u8>>) -> Case {
    Case {
        id,
        kind,
        files: vec![(kind.file().to_owned(), text.into())],
    }
}

/// Lines of which each stands for itself.
const HBA: &[(&str, &[&str])] = &[
    (
        "plain",
        &[
            "local all all trust",
            "local   all             all                                     peer",
            "host all all 127.0.0.1/32 scram-sha-256",
            "host all all ::1/128 md5",
            "host replication all 10.0.0.0/8 password",
            "hostssl all all all cert",
            "hostnossl all all 0.0.0.0/0 reject",
            "hostgssenc all all all gss",
            "hostnogssenc all all all trust",
            "host all all samehost trust",
            "host all all samenet trust",
            "host all all .example.com trust",
            "host all all db.example.com ident",
            "local all all ident",
            "local all all md5",
            "local all all scram-sha-256",
            "local all all reject",
            "local all all password",
        ],
    ),
    (
        "type",
        &[
            "Local all all trust",
            "LOCAL all all trust",
            "\"local\" all all trust",
            "lo\"cal\" all all trust",
            "local,host all all trust",
            "local, host all all trust",
            ",local all all trust",
            "\"\" all all trust",
            "hosts all all all trust",
            "hostssl2 all all all trust",
            "unknown all all all trust",
            "hostgss all all all trust",
            "local",
            "host",
            "+local all all trust",
            "@local all all trust",
            "@ all all trust",
            "\"@local\" all all trust",
        ],
    ),
    (
        "names",
        &[
            "local all,postgres,template1 all trust",
            "local all, postgres , template1 all trust",
            "local all ,postgres all trust",
            "local sameuser all trust",
            "local samerole all trust",
            "local samegroup all trust",
            "local replication all trust",
            "local \"replication\" all trust",
            "local \"all\" \"all\" trust",
            "local al\"l\" all trust",
            "local all +admins trust",
            "local all \"+admins\" trust",
            "local all +\"my admins\" trust",
            "local all \"a \"\"quoted\"\" name\" trust",
            "local all \"\"\"\" trust",
            "local all a\"b c\"d trust",
            "local all \"a#b\" trust",
            "local all a#b trust",
            "local all \"a,b\" trust",
            "local all \"\" trust",
            "local \"\",x all trust",
            "local all a,,b trust",
            "local all a,, ,b trust",
            "local all a, trust",
            "local all \"unterminated trust",
            "local all \"a\"\" trust",
            "local all \"a\"\"\" trust",
            "local all \"a\"b\"c\" trust",
            "local DB User trust",
            "local all \\x trust",
            "local all äö trust",
            "local all a'b trust",
            "local all + trust",
            "local all +, trust",
            "local",
            "local all",
            "local all all",
            "local all all ",
            "host all all",
            "host all all all",
            "host all",
        ],
    ),
    (
        "regex",
        &[
            "local /^db all trust",
            "local \"/^db\" all trust",
            "local /(a|b) /^a.*b$ trust",
            "local / all trust",
            "local /( all trust",
            "local /) all trust",
            "local /a) all trust",
            "local /[ all trust",
            "local /[a all trust",
            "local /[] all trust",
            "local /[]a] all trust",
            "local /[^]a] all trust",
            "local /[b-a] all trust",
            "local /[a-] all trust",
            "local /[-a] all trust",
            "local /[a-b-c] all trust",
            "local /[[:alpha:]] all trust",
            "local /[[:foo:]] all trust",
            "local /[[.a.]] all trust",
            "local /[[.foo.]] all trust",
            "local /[[=a=]] all trust",
            "local /[[:alpha:] all trust",
            "local /a** all trust",
            "local /a*? all trust",
            "local /a+? all trust",
            "local /a?? all trust",
            "local /a+* all trust",
            "local /*a all trust",
            "local /+a all trust",
            "local /?a all trust",
            "local /(*a) all trust",
            "local /a|*b all trust",
            "local /a|b all trust",
            "local /a| all trust",
            "local /|a all trust",
            "local /a||b all trust",
            "local /() all trust",
            "local /(?:a) all trust",
            "local /(?=a) all trust",
            "local /(?!a) all trust",
            "local /(?<=a) all trust",
            "local /(?<!a) all trust",
            "local /(?<a) all trust",
            "local /(?x) all trust",
            "local /(?xa) all trust",
            "local /a(?i)b all trust",
            "local /(?i)ab all trust",
            "local /(?z)ab all trust",
            "local /***=a( all trust",
            "local /***:a( all trust",
            "local /***a all trust",
            "local /a{2} all trust",
            "local /a{2,} all trust",
            "local \"/a{2,3}\" all trust",
            "local \"/a{3,2}\" all trust",
            "local /a{ all trust",
            "local /a{x all trust",
            "local /a{2 all trust",
            "local /a{256} all trust",
            "local /a{255} all trust",
            "local \"/a{,3}\" all trust",
            "local /{2} all trust",
            "local /a} all trust",
            "local /^* all trust",
            "local /a^b all trust",
            "local /a$* all trust",
            "local /\\d all trust",
            "local /\\w\\s\\D\\W\\S all trust",
            "local /\\q all trust",
            "local /\\. all trust",
            "local /\\ all trust",
            "local /a\\\\ all trust",
            "local /(a)\\1 all trust",
            "local /(a)\\2 all trust",
            "local /\\1 all trust",
            "local /\\x41 all trust",
            "local /\\x all trust",
            "local /\\u0041 all trust",
            "local /\\u41 all trust",
            "local /\\m\\M\\y\\Y\\A\\Z all trust",
            "local /\\<a\\> all trust",
            "local /[\\d] all trust",
            "local /[\\D] all trust",
            "local /[\\w-z] all trust",
            "local /[a\\]b] all trust",
            "local /[a-\\d] all trust",
            "local /((a) all trust",
            "local /(a)) all trust",
            "local /(a){2}{3} all trust",
            "local /a{1}? all trust",
            "local /a{0} all trust",
            "local /(a*)* all trust",
            "local /(a*)+ all trust",
            "local /äö all trust",
            "local a,/( all trust",
            "local all /( trust",
            "local all a,/[b-a],c trust",
            "local all +/( trust",
            "local /[[:<:]] all trust",
            "local /[[:<:]]a[[:>:]] all trust",
            "local /[a[:<:]] all trust",
            "local /[[.-.]-a] all trust",
            "local /[a-[.z.]] all trust",
            "local /[--0] all trust",
            "local /[a-[:digit:]] all trust",
            "local /[[.hyphen.]] all trust",
            "local /\\0 all trust",
            "local /\\07 all trust",
            "local /\\10 all trust",
            "local /\\e\\a\\f\\n\\r\\t\\v\\b\\B all trust",
            "local /\\cA all trust",
            "local /\\c all trust",
            "local /(?q)a( all trust",
            "local /(?b)a\\(b\\) all trust",
            "local /(?e)a\\d all trust",
            "local /(?) all trust",
            "local \"/(?# comment)a\" all trust",
            "local \"/(?#comment\" all trust",
        ],
    ),
    (
        "address",
        &[
            "host all all 127.0.0.1 255.255.255.255 trust",
            "host all all 127.0.0.1 255.0.255.0 trust",
            "host all all 10.1.2.3/8 trust",
            "host all all 10.1.2.3/0 trust",
            "host all all 10.1.2.3/32 trust",
            "host all all 10.1.2.3/33 trust",
            "host all all 10.1.2.3/-1 trust",
            "host all all 10.1.2.3/+8 trust",
            "host all all \"10.1.2.3/ 8\" trust",
            "host all all \"10.1.2.3/8 \" trust",
            "host all all 10.1.2.3/ trust",
            "host all all 10.1.2.3/8/8 trust",
            "host all all 10.1.2.3/x trust",
            "host all all 10.1.2.3/08 trust",
            "host all all 10.1.2.3/0x8 trust",
            "host all all 10.1.2.3/99999999999999999999 trust",
            "host all all 10.1.2/24 trust",
            "host all all 10/8 trust",
            "host all all 10.1/8 trust",
            "host all all 0x0a.1/8 trust",
            "host all all 010.0.0.1/8 trust",
            "host all all 08.0.0.1/8 trust",
            "host all all 1 255.255.255.255 trust",
            "host all all 4294967295/32 trust",
            "host all all 4294967296/32 trust",
            "host all all 256.0.0.1/32 trust",
            "host all all 1.2.3.4.5/32 trust",
            "host all all 1.2.3./32 trust",
            "host all all .1.2.3/32 trust",
            "host all all 1.2.3.4/32 255.0.0.0 trust",
            "host all all 1.2.3.4 trust",
            "host all all 1.2.3.4",
            "host all all 1.2.3.4 255.255.0.0",
            "host all all 1.2.3.4 foo trust",
            "host all all 1.2.3.4 255.255.0.0,255.0.0.0 trust",
            "host all all 1.2.3.4 ffff:: trust",
            "host all all ::1 255.0.0.0 trust",
            "host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust",
            "host all all ::1 ffff:: trust",
            "host all all ::1/129 trust",
            "host all all ::1/0 trust",
            "host all all ::/0 trust",
            "host all all ::/1 trust",
            "host all all fe80::/10 trust",
            "host all all fe80::1%1/64 trust",
            "host all all fe80::1%lo/64 trust",
            "host all all fe80::1%nosuch/64 trust",
            "host all all ff02::1%1/64 trust",
            "host all all 2001:db8::1%1/64 trust",
            "host all all ::1%2/128 trust",
            "host all all fe80::1%/64 trust",
            "host all all ::ffff:1.2.3.4/96 trust",
            "host all all ::1.2.3.4/96 trust",
            "host all all 2001:DB8:0:0:1:0:0:1/64 trust",
            "host all all 1:2:3:4:5:6:7::/64 trust",
            "host all all 1:2:3:4:5:6:7:8:9/64 trust",
            "host all all :::/64 trust",
            "host all all 12345::/64 trust",
            "host all all [::1]/128 trust",
            "host all all host/32 trust",
            "host all all /32 trust",
            "host all all \"\" trust",
            "host all all \"\" 255.0.0.0 trust",
            "host all all host 255.0.0.0 trust",
            "host all all host.example.com trust",
            "host all all HOST.example.com trust",
            "host all all .Example.com trust",
            "host all all a,b trust",
            "host all all all,samehost trust",
            "host all all \"all\" trust",
            "host all all \"samehost\" trust",
            "host all all All trust",
            "host all all all 255.0.0.0 trust",
            "host all all samenet 255.0.0.0 trust",
            "host all all samenet/8 trust",
            "host all all *.example.com trust",
            "host all all * trust",
            "host all all trust",
            "local all all 127.0.0.1/32 trust",
            "host all all 1.2.3.4 \"\" trust",
            "host all all 1.2.3.4 255.255.255 trust",
            "host all all 1.2.3.4 0 trust",
            "host all all \"1.2.3.4 \" 255.255.255.255 trust",
            "host all all \" 1.2.3.4\" 255.255.255.255 trust",
            "host all all localhost trust",
        ],
    ),
    (
        "method",
        &[
            "local all all Trust",
            "local all all \"trust\"",
            "local all all trust,md5",
            "local all all implicit",
            "local all all \"implicit reject\"",
            "local all all \"\"",
            "local all all krb5",
            "local all all crypt",
            "local all all gss",
            "local all all sspi",
            "local all all pam",
            "local all all bsd",
            "local all all ldap",
            "local all all cert",
            "local all all radius",
            "local all all oauth",
            "host all all all peer",
            "host all all all gss",
            "host all all all sspi",
            "host all all all pam",
            "host all all all bsd",
            "host all all all ldap",
            "host all all all cert",
            "host all all all radius",
            "host all all all oauth",
            "host all all all ident",
            "hostssl all all all ident",
            "hostssl all all all peer",
            "hostssl all all all radius",
            "hostnossl all all all cert",
            "hostgssenc all all all trust",
            "hostgssenc all all all reject",
            "hostgssenc all all all md5",
            "hostnogssenc all all all gss",
            "hostssl all all all foo",
            "hostssl all all",
            "hostgssenc all",
        ],
    ),
    (
        "options",
        &[
            "local all all peer map=m",
            "local all all peer map=",
            "local all all peer map",
            "local all all peer =m",
            "local all all peer map=a map=b",
            "local all all peer map=a,map=b",
            "local all all peer map=a, map=b",
            "local all all peer \"map=a b\"",
            "local all all peer map=\"a b\"",
            "local all all peer map = a",
            "local all all peer Map=a",
            "local all all peer map=a=b",
            "local all all ident map=m",
            "local all all trust map=m",
            "local all all md5 map=m",
            "local all all trust foo=bar",
            "local all all trust foo",
            "local all all trust \"\"",
            "host all all all ident map=m # comment",
            "host all all all trust clientcert=1",
            "host all all all trust clientcert=verify-full",
            "hostssl all all all trust clientcert=1",
            "hostssl all all all trust clientcert=0",
            "hostssl all all all trust clientcert=verify-ca",
            "hostssl all all all trust clientcert=verify-full",
            "hostssl all all all trust clientcert=no-verify",
            "hostssl all all all trust clientcert=foo",
            "hostssl all all all trust clientcert=",
            "hostssl all all all cert clientcert=1",
            "hostssl all all all cert clientcert=0",
            "hostssl all all all cert clientcert=verify-ca",
            "hostssl all all all cert clientcert=verify-full",
            "hostssl all all all cert clientcert=no-verify",
            "hostssl all all all cert clientcert=foo",
            "hostssl all all all cert map=m",
            "hostssl all all all cert clientname=CN",
            "hostssl all all all cert clientname=DN",
            "hostssl all all all cert clientname=cn",
            "hostssl all all all trust clientname=DN clientcert=verify-ca",
            "host all all all trust clientname=DN",
            "local all all trust clientname=DN",
            "local all all trust clientcert=1",
            "host all all all md5 pamservice=x",
            "host all all all pam pamservice=x",
            "host all all all pam pamservice=x pam_use_hostname=1",
            "host all all all pam pam_use_hostname=0",
            "host all all all md5 pam_use_hostname=1",
            "host all all all gss include_realm=0",
            "host all all all gss include_realm=1 krb_realm=EXAMPLE.COM map=m",
            "host all all all gss krb_realm=",
            "host all all all gss compat_realm=1",
            "host all all all gss upn_username=1",
            "host all all all md5 include_realm=0",
            "host all all all md5 krb_realm=x",
            "host all all all md5 compat_realm=1",
            "host all all all md5 upn_username=1",
            "hostgssenc all all all gss include_realm=0",
            "host all all all trust issuer=x",
            "host all all all trust scope=x",
            "host all all all trust validator=x",
            "host all all all trust delegate_ident_mapping=1",
            "host all all all oauth issuer=https://x scope=openid",
            "host all all all oauth issuer=https://x scope=openid validator=v",
            "host all all all oauth issuer=https://x",
            "host all all all oauth scope=openid",
            "host all all all oauth issuer=a scope=b map=m delegate_ident_mapping=1",
            "local all all oauth issuer=https://x scope=openid",
        ],
    ),
    (
        "ldap",
        &[
            "host all all all ldap ldapserver=s ldapprefix=p ldapsuffix=x",
            "host all all all ldap ldapserver=s ldapprefix=p",
            "host all all all ldap ldapserver=s ldapsuffix=x",
            "host all all all ldap ldapserver=s",
            "host all all all ldap ldapprefix=p",
            "host all all all ldap ldapbasedn=b",
            "host all all all ldap ldapserver=s ldapbasedn=b",
            "host all all all ldap ldapserver=s ldapbasedn=b ldapprefix=p",
            "host all all all ldap ldapserver=s ldapsuffix=x ldapbinddn=d",
            "host all all all ldap ldapserver=s ldapsuffix=x ldapbindpasswd=d",
            "host all all all ldap ldapserver=s ldapsuffix=x ldapsearchattribute=d",
            "host all all all ldap ldapserver=s ldapsuffix=x ldapsearchfilter=d",
            "host all all all ldap ldapserver=s ldapbasedn=b ldapbinddn=d ldapbindpasswd=p",
            "host all all all ldap ldapserver=s ldapbasedn=b ldapsearchattribute=a",
            "host all all all ldap ldapserver=s ldapbasedn=b ldapsearchfilter=(a=$username)",
            "host all all all ldap ldapserver=s ldapbasedn=b ldapsearchattribute=a \
             ldapsearchfilter=f",
            "host all all all ldap ldapserver=s ldapprefix=p ldaptls=1",
            "host all all all ldap ldapserver=s ldapprefix=p ldaptls=0",
            "host all all all ldap ldapserver=s ldapprefix=p ldapport=389",
            "host all all all ldap ldapserver=s ldapprefix=p ldapport=0",
            "host all all all ldap ldapserver=s ldapprefix=p ldapport=x",
            "host all all all ldap ldapserver=s ldapprefix=p ldapport=12x",
            "host all all all ldap ldapserver=s ldapprefix=p ldapport=-1",
            "host all all all ldap \"ldapserver=s t\" ldapprefix=p ldapscheme=ldaps",
            "host all all all ldap ldapserver=s ldapprefix=p ldapscheme=http",
            "host all all all ldap ldapserver=s ldapprefix= ldapsuffix=",
            "host all all all ldap ldapurl=ldap://h/dc=x",
            "host all all all ldap ldapurl=ldap://h:1234/dc=x?uid?sub",
            "host all all all ldap \"ldapurl=ldap://h/dc=x,dc=y?uid,cn?one\"",
            "host all all all ldap ldapurl=ldaps://h/dc=x?uid?base",
            "host all all all ldap ldapurl=ldap://h/dc=x??sub?(uid=$username)",
            "host all all all ldap ldapurl=ldap://h/dc=x??sub ldaptls=1",
            "host all all all ldap ldapurl=ldap://h",
            "host all all all ldap ldapurl=ldap:///dc=x",
            "host all all all ldap ldapurl=http://h/dc=x",
            "host all all all ldap ldapurl=foo",
            "host all all all ldap ldapurl=",
            "host all all all ldap ldapurl=ldapi://h/dc=x",
            "host all all all ldap ldapurl=ldap://h/dc=x?uid?foo",
            "host all all all ldap ldapurl=ldap://h/dc=%20x",
            "host all all all ldap ldapurl=ldap://h:x/dc=x",
            "host all all all ldap ldapurl=ldap://[::1]:5/dc=x",
            "host all all all ldap ldapurl=ldap://h/dc=x ldapprefix=p",
            "host all all all md5 ldapserver=s",
            "host all all all md5 ldapurl=ldap://h/dc=x",
            "host all all all md5 ldapport=0",
            "host all all all md5 ldapprefix=p",
            "host all all all md5 ldapsuffix=p",
            "host all all all md5 ldaptls=1",
            "host all all all md5 ldapscheme=x",
            "host all all all md5 ldapbasedn=b",
            "host all all all md5 ldapbinddn=b",
            "host all all all md5 ldapbindpasswd=b",
            "host all all all md5 ldapsearchattribute=b",
            "host all all all md5 ldapsearchfilter=b",
        ],
    ),
    (
        "radius",
        &[
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s",
            "host all all all radius radiusservers=127.0.0.1",
            "host all all all radius radiussecrets=s",
            "host all all all radius \"radiusservers=127.0.0.1,127.0.0.2\" radiussecrets=s",
            "host all all all radius \"radiusservers=127.0.0.1,127.0.0.2\" \"radiussecrets=s,t\"",
            "host all all all radius \"radiusservers=127.0.0.1,127.0.0.2\" \"radiussecrets=s,t,u\"",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusports=1812",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s \"radiusports=1,2\"",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusports=x",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusports=0",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s \"radiusports=1,\"",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusidentifiers=i",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s \
             \"radiusidentifiers=i,j\"",
            "host all all all radius radiusservers= radiussecrets=s",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusports=",
            "host all all all radius radiusservers=127.0.0.1 radiussecrets=s radiusidentifiers=",
            "host all all all radius \"radiusservers=127.0.0.1,\" radiussecrets=s",
            "host all all all radius radiusservers=127.0.0.1 \"radiussecrets=s,\"",
            "host all all all radius radiusservers=127.0.0.1 \"radiussecrets=\"\"a,b\"\"\"",
            "host all all all radius radiusservers=127.0.0.1 \"radiussecrets=\"\"a,b\"",
            "host all all all radius radiusservers=::1 radiussecrets=a",
            "host all all all radius radiusservers=localhost radiussecrets=a",
            "host all all all radius radiusserver=127.0.0.1 radiussecret=a",
            "host all all all md5 radiusservers=127.0.0.1",
            "host all all all md5 radiussecrets=127.0.0.1",
            "host all all all md5 radiusports=127.0.0.1",
            "host all all all md5 radiusidentifiers=127.0.0.1",
        ],
    ),
    (
        "blanks",
        &[
            "  local all all trust",
            "\tlocal\tall\tall\ttrust",
            "local all all trust # comment",
            "local all all trust#comment",
            "local all all trust #",
            "# local all all trust",
            "  # local all all trust",
            "",
            "   ",
            ",",
            ", , ,",
            "local all all trust,",
            "local all all trust ,",
            "local\u{b}all all trust",
            "local\u{c}all all trust",
            "local\u{a0}all all trust",
            "local all all \"trust\" # \"",
            "\"# local\" all all trust",
            "include",
            "include a b",
            "include_dir",
            "include_if_exists",
            "\"include\" x",
            "include_if_exists nosuch",
        ],
    ),
];

/// Whole files, for what concerns ends of lines.
const RAW: &[(&str, &str)] = &[
    ("empty", ""),
    ("only-newlines", "\n\n\n"),
    ("no-newline", "local all all trust"),
    ("no-newline-comment", "local all all trust\n# end"),
    ("crlf", "local all all trust\r\nhost all all all md5\r\n"),
    ("cr", "local all all trust\rhost all all all md5\r"),
    ("cr-in-quotes", "local \"a\rb\" all trust\n"),
    ("cr-end-in-quotes", "local all all \"trust\r\n"),
    ("many-cr", "local all all trust\r\r\r\n"),
    ("bom", "\u{feff}local all all trust\n"),
    ("bom-comment", "\u{feff}# local all all trust\n"),
    ("continued", "local all \\\nall trust\nlocal all all md5\n"),
    (
        "continued-crlf",
        "local all \\\r\nall trust\r\nlocal all all md5\r\n",
    ),
    (
        "continued-word",
        "local all al\\\nl trust\nlocal all all md5\n",
    ),
    (
        "continued-quotes",
        "local \"a \\\nb\" all trust\nlocal all all md5\n",
    ),
    (
        "continued-comment",
        "# local all \\\nall trust\nlocal all all md5\n",
    ),
    (
        "continued-comment-2",
        "local all all trust # x \\\nfoo\nlocal all all md5\n",
    ),
    (
        "continued-empty",
        "local all all trust \\\n\nlocal all all md5\n",
    ),
    (
        "continued-blank",
        "local all all trust \\ \nlocal all all md5\n",
    ),
    (
        "continued-twice",
        "local \\\nall \\\nall \\\ntrust\nlocal all all md5\n",
    ),
    (
        "continued-two-backslashes",
        "local all all trust \\\\\nlocal all all md5\n",
    ),
    (
        "continued-lone",
        "local all all trust \\\n\\\n\\\nmap=x\nlocal all all md5\n",
    ),
    ("continued-at-end", "local all all trust \\"),
    ("continued-at-end-newline", "local all all trust \\\n"),
    ("continued-only", "\\\n\\\n"),
    ("continued-first", "\\\nlocal all all trust\n"),
    (
        "continued-error",
        "local all \\\nall foo\nlocal all all md5\n",
    ),
    ("continued-cr", "local \"a\r\\\n\nlocal all all md5\n"),
    (
        "continued-include",
        "include \\\nnosuch\nlocal all all md5\n",
    ),
    ("nul", "local all a\0ll trust\nlocal all all md5\n"),
    ("nul-first", "\0local all all trust\nlocal all all md5\n"),
    (
        "nul-last",
        "local all all trust\0\nlocal all all md5\nlocal all all peer\n",
    ),
    (
        "nul-comment",
        "# a\0b\nlocal all all md5\nlocal all all peer\n",
    ),
    ("nul-at-end", "local all all trust\0"),
    (
        "debian",
        "# Database administrative login by Unix domain socket\n\
         local   all             postgres                                peer\n\n\
         # TYPE  DATABASE        USER            ADDRESS                 METHOD\n\n\
         # \"local\" is for Unix domain socket connections only\n\
         local   all             all                                     peer\n\
         # IPv4 local connections:\n\
         host    all             all             127.0.0.1/32            scram-sha-256\n\
         # IPv6 local connections:\n\
         host    all             all             ::1/128                 scram-sha-256\n\
         # Allow replication connections from localhost, by a user with the\n\
         # replication privilege.\n\
         local   replication     all                                     peer\n\
         host    replication     all             127.0.0.1/32            scram-sha-256\n\
         host    replication     all             ::1/128                 scram-sha-256\n",
    ),
];

const IDENT: &[(&str, &str)] = &[
    ("ident-empty", ""),
    (
        "ident-plain",
        "# MAPNAME SYSTEM-USERNAME PG-USERNAME\nm root postgres\nm \"a b\" c\n\"m n\" x y\n",
    ),
    ("ident-short", "m\nm a\nm a b\n"),
    ("ident-long", "m a b c\nm a b c d\n"),
    ("ident-lists", "m,n a b\nm a,b c\nm a b,c\nm, a b\n"),
    (
        "ident-regex",
        "m /^(.*)@example\\.com$ \\1\nm /( x\nm /a /(\nm a /^b$\nm /^a$ all\n",
    ),
    (
        "ident-regex-2",
        "m /[b-a] /[\nm /a \\1\nm \"/a b\" \"\\1x\"\nm / x\nm x /\n",
    ),
    (
        "ident-special",
        "m a all\nm a \"all\"\nm a +r\nm a \"+r\"\nall all all\n+m +a +b\n",
    ),
    (
        "ident-quotes",
        "\"\" \"\" \"\"\nm \"a\"\"b\" c\nm \"a b\nm a # b\n",
    ),
    ("ident-continued", "m a \\\nb\nm x y\n"),
    (
        "ident-include",
        "include nosuch\ninclude_if_exists nosuch\ninclude_dir nosuch\nm a b\n",
    ),
    ("ident-crlf", "m a b\r\nm c d\r\n"),
];

type Tree = (&'static str, Kind, &'static [(&'static str, &'static str)]);

const TREES: &[Tree] = &[
    (
        "at",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "local @dbs all trust\nlocal all @users,x trust\nlocal @\"dbs\" @ trust\n",
            ),
            ("dbs", "one two\nthree, four # five\n\"six seven\"\n"),
            ("users", "+admins \"+x\"\nall \"all\"\n"),
        ],
    ),
    (
        "at-nested",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "local @d/a all trust\nlocal all x,@d/a,y trust\n",
            ),
            ("d/a", "a1 @b a2\n"),
            ("d/b", "b1,b2 @../c\n"),
            ("c", "c1\n"),
        ],
    ),
    (
        "at-missing",
        Kind::Hba,
        &[(
            "pg_hba.conf",
            "local @nosuch all trust\nlocal a,@nosuch,b all trust\n\
             local all @/nosuch/x trust\nlocal all @sub/nosuch trust\n",
        )],
    ),
    (
        "at-empty",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "local @empty all trust\nlocal all a,@empty trust\nlocal all @empty trust\n\
                 @empty local all all trust\n",
            ),
            ("empty", "# nothing\n"),
        ],
    ),
    (
        "at-everywhere",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "@line\n@type all all trust\nhost all all @net trust\nlocal all all @method\n\
                 local all all peer @options\n",
            ),
            ("line", "local all all trust\n"),
            ("type", "local\n"),
            ("net", "127.0.0.1/32\n"),
            ("method", "peer\n"),
            ("options", "map=a map=b\n"),
        ],
    ),
    (
        "at-errors",
        Kind::Hba,
        &[
            ("pg_hba.conf", "local @a all trust\nlocal all all md5\n"),
            ("a", "x y\n@nosuch z\nw\n"),
        ],
    ),
    (
        "at-directory",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "local @d all trust\nlocal x,@d all trust\nlocal all all md5\n",
            ),
            ("d/x", "a\n"),
        ],
    ),
    (
        "at-continued",
        Kind::Hba,
        &[
            ("pg_hba.conf", "local @a all trust\n"),
            ("a", "x \\\ny\nz\\\n"),
        ],
    ),
    (
        "include",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "local all a trust\ninclude more\nlocal all b trust\n",
            ),
            (
                "more",
                "# x\nlocal all m trust\nlocal all m foo\n\"include\" d/again\n",
            ),
            (
                "d/again",
                "include_if_exists other\ninclude_if_exists nosuch\nlocal all again trust\n",
            ),
            ("d/other", "local all other trust"),
        ],
    ),
    (
        "include-missing",
        Kind::Hba,
        &[(
            "pg_hba.conf",
            "include nosuch\ninclude /nosuch/x\ninclude_if_exists nosuch\ninclude_dir nosuch\n\
             include_dir \"\"\ninclude \"\"\nlocal all all trust\n",
        )],
    ),
    (
        "include-dir",
        Kind::Hba,
        &[
            ("pg_hba.conf", "include_dir d\nlocal all z trust\n"),
            ("d/b.conf", "local all b trust\n"),
            ("d/a.conf", "local all a trust\n"),
            ("d/.c.conf", "local all c trust\n"),
            ("d/d.con", "local all d trust\n"),
            ("d/.conf", "local all e trust\n"),
            ("d/B.conf", "local all B trust\n"),
            ("d/x.conf/y", "nothing"),
        ],
    ),
    (
        "include-dir-errors",
        Kind::Hba,
        &[
            ("pg_hba.conf", "include_dir d\nlocal all z trust\n"),
            ("d/a.conf", "local all a trust\ninclude nosuch\n"),
            ("d/b.conf", "local all b foo\n"),
        ],
    ),
    (
        "include-self",
        Kind::Hba,
        &[(
            "pg_hba.conf",
            "local all a trust\ninclude pg_hba.conf\nlocal all b trust\n",
        )],
    ),
    (
        "include-directory",
        Kind::Hba,
        &[
            ("pg_hba.conf", "include d\nlocal all b trust\n"),
            ("d/x", "y\n"),
        ],
    ),
    (
        "include-in-at",
        Kind::Hba,
        &[
            ("pg_hba.conf", "local @a all trust\n"),
            ("a", "x\ninclude b\ny z\ninclude_if_exists nosuch\n"),
            ("b", "p q\nr\n"),
        ],
    ),
    (
        "include-lists",
        Kind::Hba,
        &[
            (
                "pg_hba.conf",
                "include,x a\ninclude a,b\ninclude @c\ninclude a b\n",
            ),
            ("a", "local all a trust\n"),
            ("b", "local all b trust\n"),
            ("c", "a\n"),
        ],
    ),
    (
        "include-dir-deep",
        Kind::Hba,
        &[
            ("pg_hba.conf", "include_dir d\n"),
            ("d/a.conf", "include_dir ../d\nlocal all a trust\n"),
        ],
    ),
    (
        "ident-tree",
        Kind::Ident,
        &[
            (
                "pg_ident.conf",
                "m @users x\nm a @one\ninclude more\ninclude_dir d\n",
            ),
            ("users", "a b\n"),
            ("one", "o\n"),
            ("more", "n a b\nn a\n"),
            ("d/1.conf", "d 1 2\n"),
        ],
    ),
];

/// Lines and tokens about as long as the old servers could read.
fn long() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [253, 254, 255, 256, 257, 10_238, 10_239, 10_240] {
        let text = format!(
            "local {} all trust\nlocal all all md5\n",
            "a".repeat(length)
        );
        cases.push(single(format!("token-{length}"), Kind::Hba, text));
    }
    for length in [8_190, 8_191, 8_192, 8_193, 20_478, 20_479, 20_480] {
        // Blanks, of which nothing is to be seen in the answers.
        let line = "local all all trust ";
        let text = format!("{line:<length$}\nlocal all all md5\n");
        cases.push(single(format!("line-{length}"), Kind::Hba, text));
        let text = format!("{line:<length$}");
        cases.push(single(format!("line-{length}-end"), Kind::Hba, text));
    }
    for length in [253, 254, 255, 10_237, 10_238, 10_239] {
        let name = "a".repeat(length);
        let quoted = format!("local \"{name}\" all trust\nlocal {name},b all trust\n");
        cases.push(single(format!("token-quoted-{length}"), Kind::Hba, quoted));
    }
    let text = format!(
        "local all all trust #{}\nlocal all all md5\n",
        "c".repeat(20_500)
    );
    cases.push(single("line-comment".to_owned(), Kind::Hba, text));
    cases
}

/// xorshift64*: the same cases every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn list(&mut self, choices: &[&str]) -> String {
        let mut text = self.of(choices).to_owned();
        while self.below(3) == 0 {
            text += self.of(&[",", ", ", " ,", ",,"]);
            text += self.of(choices);
        }
        text
    }

    fn hba_line(&mut self) -> String {
        const TYPES: [&str; 9] = [
            "local",
            "host",
            "host",
            "hostssl",
            "hostnossl",
            "hostgssenc",
            "hostnogssenc",
            "\"host\"",
            "lokal",
        ];
        const NAMES: [&str; 16] = [
            "all",
            "all",
            "\"all\"",
            "sameuser",
            "samerole",
            "replication",
            "app",
            "\"a b\"",
            "+role",
            "\"+role\"",
            "/^a.*$",
            "\"/x|y\"",
            "/(",
            "A",
            "a\"\"b",
            "@nosuch",
        ];
        const ADDRESSES: [&str; 14] = [
            "all",
            "samehost",
            "samenet",
            "127.0.0.1/32",
            "10.0.0.0/8",
            "::1/128",
            "fe80::/10",
            "10.1.2.3 255.255.0.0",
            "::1 ffff::",
            "host.example.com",
            ".example.com",
            "10.0.0.0/33",
            "10.0.0.0",
            "host/8",
        ];
        const METHODS: [&str; 14] = [
            "trust",
            "reject",
            "md5",
            "scram-sha-256",
            "password",
            "peer",
            "ident",
            "cert",
            "radius",
            "oauth",
            "foo",
            "\"trust\"",
            "sspi",
            "trust",
        ];
        const OPTIONS: [&str; 12] = [
            "map=m",
            "map=\"a b\"",
            "clientcert=verify-ca",
            "clientcert=verify-full",
            "clientcert=1",
            "clientname=DN",
            "foo=bar",
            "foo",
            "# comment",
            "radiussecrets=s",
            "radiusservers=127.0.0.1",
            "issuer=i scope=s",
        ];
        let mut words = vec![
            self.of(&TYPES).to_owned(),
            self.list(&NAMES),
            self.list(&NAMES),
        ];
        if !words[0].starts_with('l') || self.below(8) == 0 {
            words.push(self.of(&ADDRESSES).to_owned());
        }
        words.push(self.of(&METHODS).to_owned());
        while self.below(3) == 0 {
            words.push(self.of(&OPTIONS).to_owned());
        }
        if self.below(12) == 0 {
            words.remove(self.below(words.len()));
        }
        let blank = self.of(&[" ", " ", "  ", "\t", " \\\n"]);
        words.join(blank)
    }

    fn hba_file(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(8) {
            text += &self.hba_line();
            text += self.of(&["\n", "\n", "\n", "\r\n", "\n\n", " \n", " # x\n", " \\\n"]);
        }
        text
    }

    fn hba_tree_file(&mut self) -> Vec<u8> {
        const LINES: [&str; 14] = [
            "include a",
            "include b",
            "include_dir d",
            "include_if_exists nosuch",
            "include nosuch",
            "local @a all trust",
            "local all @b trust",
            "local all x,@d/1.conf trust",
            "local all all trust",
            "local all all md5",
            "# nothing",
            "x y",
            "include ../b",
            "include 1.conf",
        ];
        // Few lines: what includes itself ten deep has rows without number.
        let mut text = String::new();
        for _ in 0..=self.below(2) {
            text += self.of(&LINES);
            text += "\n";
        }
        text.into_bytes()
    }

    fn ident_file(&mut self) -> String {
        const WORDS: [&str; 16] = [
            "m", "map", "\"m n\"", "root", "/^(.*)$", "/(", "\\1", "\"\\1\"", "all", "+r", "a,b",
            "x", "/^x$", "\"/x\"", "# c", "\"",
        ];
        let mut text = String::new();
        for _ in 0..=self.below(6) {
            for _ in 0..1 + self.below(5) {
                text += self.of(&WORDS);
                text += self.of(&[" ", "\t", "  "]);
            }
            text += self.of(&["\n", "\n", "\r\n", " \\\n"]);
        }
        text
    }

    /// Few kinds of bytes, so that they meet.
    fn bytes(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 20] = [
            b"local ",
            b"all",
            b" all",
            b" trust",
            b"\"",
            b"\"\"",
            b",",
            b" ",
            b"\t",
            b"\r",
            b"\n",
            b"\\",
            b"\\\n",
            b"#",
            b"host",
            b"\xff",
            b"\xc3\xa9",
            b"+",
            b"=",
            b"map=",
        ];
        let mut text = Vec::new();
        for _ in 0..4 + self.below(40) {
            text.extend(PIECES[self.below(PIECES.len())]);
        }
        text
    }
}
