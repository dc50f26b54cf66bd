-- Project logs: what people enter at the centre. The log itself lies in logs, segments, nodes and trail
-- like every other, under a site number of its own; this reference table says which.

CREATE TABLE project_logs (
    project_id TEXT   NOT NULL PRIMARY KEY,
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    origin     TEXT   NOT NULL,
    log_vkey   TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

-- What the collector cosigned last of a log that it does not write itself: its state as a witness.
CREATE TABLE witnessed (
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    size       BIGINT NOT NULL,
    root       BYTES  NOT NULL,
    cosigned_s BIGINT NOT NULL,
    note       BYTES  NOT NULL,
    PRIMARY KEY (site_id, log_id)
);

-- Files that records name by their hash; each content once.
CREATE TABLE attachments (
    site_id    BIGINT NOT NULL,
    hash       BYTES  NOT NULL,
    content    BYTES  NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (site_id, hash)
);
