-- Always empty. A unit that must not be kept fails by an insert into it.
CREATE TABLE mamey_checks (failed INTEGER NOT NULL) STRICT;
