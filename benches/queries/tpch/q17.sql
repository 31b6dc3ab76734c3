-- Small-quantity-order revenue.
SELECT sum(l_extendedprice) / 7.0 AS avg_yearly
FROM lineitem
JOIN part ON p_partkey = l_partkey
JOIN (
    SELECT l_partkey AS avg_partkey, 0.2 * avg(l_quantity) AS small_quantity
    FROM lineitem
    GROUP BY l_partkey
) AS averages ON avg_partkey = p_partkey
WHERE p_brand = 'Brand#23' AND p_container = 'MED BOX' AND l_quantity < small_quantity
