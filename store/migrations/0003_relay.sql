-- What a log still has to show to whom (a witness by its key, a timestamp authority by its address),
-- shared by all collectors of one store, and the timestamp tokens.

CREATE TABLE relays (
    site_id    BIGINT NOT NULL,
    log_id     BYTES  NOT NULL,
    target     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    done_ms    BIGINT NOT NULL,
    due_ms     BIGINT NOT NULL,
    failures   BIGINT NOT NULL,
    error      TEXT,
    PRIMARY KEY (site_id, log_id, target)
);

CREATE TABLE timestamps (
    site_id BIGINT NOT NULL,
    log_id  BYTES  NOT NULL,
    at_ms   BIGINT NOT NULL,
    size    BIGINT NOT NULL,
    note    BYTES  NOT NULL,
    token   BYTES  NOT NULL,
    PRIMARY KEY (site_id, log_id, size, at_ms)
);
