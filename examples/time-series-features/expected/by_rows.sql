SELECT meter, ts, kwh,
       LAG(kwh, 1) OVER in_order AS lag_1,
       LAG(kwh, 4) OVER in_order AS lag_4,
       ROUND(kwh - LAG(kwh, 1) OVER in_order, 4) AS difference,
       ROUND(AVG(kwh) OVER last_four, 4) AS mean_4,
       ROUND(STDDEV_SAMP(kwh) OVER last_four, 4) AS stddev_4
FROM meters
WINDOW in_order AS (PARTITION BY meter ORDER BY ts),
       last_four AS (PARTITION BY meter ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
