WITH numbered AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY ts, line) - 1 AS number FROM trades)
SELECT symbol, MIN(ts) AS window_start, MAX(ts) AS window_end, ROUND(AVG(price), 4) AS mean, COUNT(*) AS trades
FROM numbered
GROUP BY symbol, number // 3
