-- The newest trail note is that of the largest size, and bundles ask for notes by size.

CREATE INDEX trail_by_size ON trail (site_id, log_id, size, at_ms);
