SELECT p.card, p.ts, COUNT(*) AS in_ten_minutes, ROUND(SUM(before.amount), 2) AS total
FROM payments p
JOIN payments before ON before.card = p.card AND before.ts BETWEEN p.ts - INTERVAL 10 MINUTE AND p.ts
GROUP BY p.line, p.card, p.ts
HAVING COUNT(*) > 3
