ALTER TABLE fruit ADD CHECK (weight > 0);
