-- When a joined film was deleted because of its age.

ALTER TABLE films ADD COLUMN pruned_at DOUBLE PRECISION;
