//! The access rules that a builder asks for, in place of those of `initdb`.

use std::net::Ipv4Addr;

use pg_cluster::conf::hba::{Attempt, Document, Facts, Method, Name, NewRule, Place};
use pg_cluster::conf::ident;
use pg_cluster::{AccessDecision, AccessError, Cluster};

use crate::builder::TempClusterBuilder;
use crate::error::TempErrorKind;
use crate::temp_cluster::Listen;

/// Gives a clone the rules and the maps that its builder asks for, before its server starts.
pub(crate) fn apply(builder: &TempClusterBuilder, cluster: &Cluster) -> Result<(), TempErrorKind> {
    if let Some(rules) = &builder.hba {
        replace_rules(builder, cluster, rules).map_err(rejected)?;
    }
    if let Some(maps) = &builder.ident {
        let major = cluster.installation().major_version().first();
        let replace = |document: &mut ident::Document| {
            *document = ident::Document::parse_for(maps.as_str(), major);
            Ok(())
        };
        cluster.ident().edit(replace).map_err(rejected)?;
    }
    Ok(())
}

fn rejected(error: AccessError) -> TempErrorKind {
    TempErrorKind::Access(Box::new(error))
}

/// The superuser comes first, with the method that `initdb` has chosen.
fn replace_rules(
    builder: &TempClusterBuilder,
    cluster: &Cluster,
    rules: &str,
) -> Result<(), AccessError> {
    let (hba, user) = (cluster.hba(), builder.init.superuser());
    let method = |attempt: &Attempt| {
        Ok(match hba.explain(attempt, &Facts::new())? {
            AccessDecision::Rule(rule) => Some(rule.method()),
            _ => None,
        })
    };
    let mut first = Vec::new();
    if let Some(method) = method(&Attempt::local("postgres", user))? {
        first.push(NewRule::local(Name::all(), Name::of(user), method));
    }
    if builder.replication.is_some() {
        let (replication, user) = (Name::replication(), Name::of(user));
        first.push(NewRule::local(replication, user, Method::Trust));
    }
    if builder.listen == Listen::Loopback
        && let Some(method) = method(&Attempt::host(Ipv4Addr::LOCALHOST, "postgres", user))?
    {
        let (all, user) = (Name::all(), Name::of(user));
        first.push(NewRule::host(all, user, "127.0.0.1/32", method));
    }
    let major = hba.server().major();
    hba.edit(|document| {
        *document = Document::parse_for("", major);
        for rule in &first {
            document.insert(Place::End, rule)?;
        }
        let text = [document.as_bytes(), rules.as_bytes()].concat();
        *document = Document::parse_for(text, major);
        Ok(())
    })?;
    Ok(())
}
