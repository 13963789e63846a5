SELECT account, booked_at, purpose, amount,
       CAST(SUM(amount) OVER (PARTITION BY account ORDER BY booked_at, line
                              ROWS UNBOUNDED PRECEDING) AS DECIMAL(22, 2)) AS balance
FROM bookings
QUALIFY balance < 0
