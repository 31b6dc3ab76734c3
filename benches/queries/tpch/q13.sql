-- Customer distribution.
SELECT c_count, count(*) AS custdist
FROM (
    SELECT c_custkey, count(o_orderkey) AS c_count
    FROM customer
    LEFT JOIN (
        SELECT o_orderkey, o_custkey FROM orders WHERE o_comment NOT LIKE '%special%requests%'
    ) AS usual_orders ON o_custkey = c_custkey
    GROUP BY c_custkey
) AS c_orders
GROUP BY c_count
ORDER BY custdist DESC, c_count DESC
