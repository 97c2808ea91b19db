-- The tables of metadata.sqlite, version 1. Times are RFC 3339 text in UTC, revisions count the changes.

-- Up to where the log was followed: the next frame to read, and how many changes came before it.
CREATE TABLE applied (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  frame INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT;

CREATE TABLE advertisers (
  id TEXT PRIMARY KEY,
  name TEXT,
  time_zone TEXT NOT NULL,
  revision INTEGER NOT NULL,
  changed_at TEXT NOT NULL,
  changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE campaigns (
  id TEXT PRIMARY KEY,
  name TEXT,
  advertiser TEXT NOT NULL REFERENCES advertisers (id),
  currency TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every version that a campaign was ever given; the terms of a moment are those of the greatest valid_from up to it.
CREATE TABLE campaign_versions (
  revision INTEGER PRIMARY KEY,
  campaign TEXT NOT NULL REFERENCES campaigns (id),
  valid_from TEXT NOT NULL,
  name TEXT,
  advertiser TEXT NOT NULL,
  currency TEXT NOT NULL,
  billable TEXT NOT NULL,
  status TEXT NOT NULL,
  starts_at TEXT,
  ends_at TEXT,
  changed_at TEXT NOT NULL,
  changed_by TEXT NOT NULL
) STRICT;
CREATE INDEX campaign_versions_by_campaign ON campaign_versions (campaign);

-- The campaign may be one of the configuration, which is not in this file.
CREATE TABLE ads (
  id TEXT PRIMARY KEY,
  name TEXT,
  campaign TEXT NOT NULL,
  revision INTEGER NOT NULL,
  changed_at TEXT NOT NULL,
  changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE publishers (
  id TEXT PRIMARY KEY,
  name TEXT,
  revision INTEGER NOT NULL,
  changed_at TEXT NOT NULL,
  changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE placements (
  id TEXT PRIMARY KEY,
  name TEXT,
  publisher TEXT NOT NULL REFERENCES publishers (id),
  revision INTEGER NOT NULL,
  changed_at TEXT NOT NULL,
  changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Never a secret, only its SHA-256.
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  name TEXT,
  role TEXT NOT NULL,
  source TEXT NOT NULL,
  advertiser TEXT REFERENCES advertisers (id),
  expires_at TEXT,
  requests_per_second INTEGER,
  events_per_second INTEGER,
  sha256 TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  revoked_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE site_keys (
  id TEXT PRIMARY KEY,
  name TEXT,
  source TEXT NOT NULL,
  events_per_second INTEGER,
  revision INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  revoked_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE click_destinations (
  id TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  revision INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every act of administration, without secrets.
CREATE TABLE audit (
  revision INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  token TEXT NOT NULL,
  source TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  request_id TEXT,
  detail TEXT NOT NULL
) STRICT;
