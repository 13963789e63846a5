SELECT large.card, large.ts, large.amount, COUNT(*) AS small_payments, MIN(small.ts) AS first_small
FROM payments large
JOIN payments small ON small.card = large.card AND small.amount < 5
 AND small.ts BETWEEN large.ts - INTERVAL 10 MINUTE AND large.ts
WHERE large.amount >= 500
GROUP BY large.line, large.card, large.ts, large.amount
HAVING COUNT(*) >= 3
