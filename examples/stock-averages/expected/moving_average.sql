SELECT symbol, ts, price, ROUND(AVG(price) OVER three, 4) AS mean_of_three, COUNT(*) OVER three AS trades
FROM trades
WINDOW three AS (PARTITION BY symbol ORDER BY ts, line ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
