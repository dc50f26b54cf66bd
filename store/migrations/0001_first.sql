-- The first schema. Never edited after its release: a change is a new file.
-- One text for both engines: BYTES stands for BLOB (SQLite) and BYTEA (PostgreSQL).
-- Times are unix milliseconds. Ids come from the application.

-- Reference tables: written rarely, small, the same on every shard.

CREATE TABLE sites (
    site_id    BIGINT NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL
);

-- origin -> site, so that an address with a log id alone finds its shard. `token` is the SHA-256 of
-- the gateway's token: it must be known before the log's own rows are touched.
CREATE TABLE origins (
    log_id  BYTES  NOT NULL PRIMARY KEY,
    site_id BIGINT NOT NULL,
    origin  TEXT   NOT NULL,
    token   BYTES  NOT NULL
);

CREATE TABLE enrolment_codes (
    code_id    TEXT   NOT NULL PRIMARY KEY,
    site_id    BIGINT NOT NULL,
    secret     BYTES  NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_ms    BIGINT,
    used_by    BYTES
);

CREATE TABLE tokens (
    token      BYTES  NOT NULL PRIMARY KEY,
    label      TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    projects   TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE TABLE projects (
    project_id TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE project_sites (
    project_id TEXT   NOT NULL,
    site_id    BIGINT NOT NULL,
    PRIMARY KEY (project_id, site_id)
);

CREATE TABLE plans (
    project_id TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    hash       BYTES  NOT NULL,
    text       TEXT   NOT NULL,
    decision   TEXT   NOT NULL,
    applied_by TEXT   NOT NULL,
    applied_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, version)
);

CREATE TABLE reports (
    project_id TEXT   NOT NULL,
    report_id  TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    status     TEXT   NOT NULL,
    from_ms    BIGINT NOT NULL,
    to_ms      BIGINT NOT NULL,
    plan_hash  BYTES  NOT NULL,
    pinned     TEXT   NOT NULL,
    body       BYTES  NOT NULL,
    created_by TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, report_id, version)
);

CREATE TABLE meta (
    name  TEXT  NOT NULL PRIMARY KEY,
    value BYTES NOT NULL
);

-- Tables that shard: site_id comes first in every key.

-- The head row of a log. It decides; everything else follows it in the same transaction.
CREATE TABLE logs (
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    origin     TEXT   NOT NULL,
    log_key    BYTES  NOT NULL,
    log_vkey   TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    root       BYTES  NOT NULL,
    chain      BYTES  NOT NULL,
    note       BYTES  NOT NULL,
    cosigned_s BIGINT NOT NULL,
    trail_ms   BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    PRIMARY KEY (site_id, log_id)
);

-- One row per entry, with the payload below it. from_ms and to_ms are null for entries without
-- ticks and for segments that have no time yet.
CREATE TABLE segments (
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    idx        BIGINT NOT NULL,
    leaf       BYTES  NOT NULL,
    kind       BIGINT NOT NULL,
    entry      BYTES  NOT NULL,
    payload    BYTES,
    stream     BIGINT,
    first_tick BIGINT,
    ticks      BIGINT,
    from_ms    BIGINT,
    to_ms      BIGINT,
    PRIMARY KEY (site_id, log_id, idx)
);

CREATE INDEX segments_by_time ON segments (site_id, log_id, from_ms);
CREATE INDEX segments_by_kind ON segments (site_id, log_id, kind, idx);

-- Hashes of complete subtrees of 256^k leaves (level 8, 16, ...), so that tiles and proofs are
-- served without reading the log again. Level 0 is segments.leaf.
CREATE TABLE nodes (
    site_id BIGINT NOT NULL,
    log_id  BYTES  NOT NULL,
    level   BIGINT NOT NULL,
    idx     BIGINT NOT NULL,
    hash    BYTES  NOT NULL,
    PRIMARY KEY (site_id, log_id, level, idx)
);

CREATE TABLE hours (
    site_id BIGINT NOT NULL,
    log_id  BYTES  NOT NULL,
    stream  BIGINT NOT NULL,
    point   BIGINT NOT NULL,
    hour    BIGINT NOT NULL,
    config  BIGINT NOT NULL,
    data    BYTES  NOT NULL,
    PRIMARY KEY (site_id, log_id, stream, point, hour, config)
);

CREATE TABLE trail (
    site_id BIGINT NOT NULL,
    log_id  BYTES  NOT NULL,
    at_ms   BIGINT NOT NULL,
    size    BIGINT NOT NULL,
    note    BYTES  NOT NULL,
    PRIMARY KEY (site_id, log_id, at_ms, size)
);

CREATE TABLE quarantine (
    site_id BIGINT NOT NULL,
    log_id  BYTES  NOT NULL,
    digest  BYTES  NOT NULL,
    at_ms   BIGINT NOT NULL,
    code    TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    refused BYTES  NOT NULL,
    held    BYTES,
    seen    BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (site_id, log_id, digest)
);

CREATE TABLE live (
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    version    BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    PRIMARY KEY (site_id, log_id)
);

CREATE TABLE watch (
    site_id  BIGINT NOT NULL,
    log_id   BYTES  NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (site_id, log_id)
);

CREATE TABLE access_log (
    site_id BIGINT NOT NULL,
    at_ms   BIGINT NOT NULL,
    nonce   BIGINT NOT NULL,
    log_id  BYTES,
    who     TEXT   NOT NULL,
    what    TEXT   NOT NULL,
    PRIMARY KEY (site_id, at_ms, nonce)
);
