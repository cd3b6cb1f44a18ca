CREATE TABLE fruit (name text PRIMARY KEY, weight int NOT NULL);
