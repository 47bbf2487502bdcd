-- Sums by hour, for budgets of a day, a week and a month. Additions only: servers of earlier versions go on with this
-- schema, and their payments are counted as well.

-- What was spent in one hour of the clock, by scope as in `budgets`; reservations are not in it, they lapse.
CREATE TABLE spent_hours (
    scope TEXT NOT NULL,
    hour BIGINT NOT NULL,
    spent_micro_usdc BIGINT NOT NULL,
    PRIMARY KEY (scope, hour)
);

CREATE FUNCTION hour_of(payment payments) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$
    SELECT CAST(floor(payment.created_at) AS BIGINT) / 3600
$$;

CREATE FUNCTION add_to_hour(payment payments, amount_micro_usdc BIGINT) RETURNS void LANGUAGE sql AS $$
    INSERT INTO spent_hours AS kept
    SELECT DISTINCT scope, hour_of(payment), amount_micro_usdc FROM unnest(ARRAY['', payment.caller]) AS scope
    ORDER BY scope
    ON CONFLICT (scope, hour) DO UPDATE SET spent_micro_usdc = kept.spent_micro_usdc + excluded.spent_micro_usdc
$$;

CREATE FUNCTION fill_spent_hours() RETURNS void LANGUAGE sql AS $$
    DELETE FROM spent_hours;
    INSERT INTO spent_hours
    SELECT scope, hour_of(payments), sum(counted_micro_usdc(payments))
    FROM payments CROSS JOIN LATERAL (SELECT '' AS scope UNION SELECT caller) AS scopes
    GROUP BY 1, 2 HAVING sum(counted_micro_usdc(payments)) <> 0
$$;

LOCK TABLE payments IN SHARE ROW EXCLUSIVE MODE;  -- until both sums are kept, no payment is written

-- The same trigger calls it: the budgets' rows are locked before those of their hours.
CREATE OR REPLACE FUNCTION count_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before BIGINT := CASE WHEN TG_OP = 'INSERT' THEN 0 ELSE counted_micro_usdc(OLD) END;
    after BIGINT := CASE WHEN TG_OP = 'DELETE' THEN 0 ELSE counted_micro_usdc(NEW) END;
    payer TEXT := CASE WHEN TG_OP = 'DELETE' THEN OLD.caller ELSE NEW.caller END;
    has_moved BOOLEAN := CASE WHEN TG_OP = 'UPDATE' THEN hour_of(NEW) <> hour_of(OLD) ELSE FALSE END;
BEGIN
    IF after <> before THEN
        UPDATE budgets SET spent_micro_usdc = spent_micro_usdc + after - before WHERE scope IN ('', payer);
    END IF;
    IF has_moved THEN
        PERFORM add_to_hour(OLD, -before), add_to_hour(NEW, after);
    ELSIF after <> before THEN
        PERFORM add_to_hour(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END, after - before);
    END IF;
    RETURN NULL;
END $$;

SELECT fill_spent_hours();
