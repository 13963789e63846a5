SELECT symbol, MIN(ts) OVER three AS window_start, ts AS window_end, ROUND(AVG(price) OVER three, 4) AS mean
FROM trades
WINDOW three AS (PARTITION BY symbol ORDER BY ts, line ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
QUALIFY COUNT(*) OVER three = 3
