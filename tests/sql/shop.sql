-- The sample shop of the demo: some megabytes, the same at each run.
CREATE TABLE product (
    id int PRIMARY KEY,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price > 0),
    attributes jsonb NOT NULL
);
CREATE TABLE customer (
    id int PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    joined date NOT NULL
);
CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customer,
    placed_at timestamptz NOT NULL,
    note text
);
CREATE TABLE order_line (
    order_id bigint NOT NULL REFERENCES orders,
    line int NOT NULL,
    product_id int NOT NULL REFERENCES product,
    quantity int NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE INDEX ON orders (customer_id, placed_at);

INSERT INTO product
SELECT n, (ARRAY['Oak', 'Steel', 'Linen', 'Glass'])[1 + n % 4] || ' ' || (ARRAY['table', 'lamp', 'chair', 'bowl', 'shelf'])[1 + n % 5] || ' no. ' || n,
    5 + (n * 7919 % 20000) / 100.0, jsonb_build_object('weight_g', n * 31 % 5000, 'tags', ARRAY['tag' || n % 17, 'tag' || n % 5])
FROM generate_series(1, 500) n;
INSERT INTO customer
SELECT n, (ARRAY['Anna', 'Ben', 'Clara', 'Émile', 'Greta', 'Jürgen'])[1 + n % 6] || ' ' || (ARRAY['Meyer', 'Novak', 'Rossi', 'Smith', 'Dubois'])[1 + n % 5],
    'customer' || n || '@example.org', date '2020-01-01' + n % 2000
FROM generate_series(1, 5000) n;
INSERT INTO orders (customer_id, placed_at, note)
SELECT 1 + n * 7907 % 5000, timestamptz '2024-01-01 00:00+00' + n * interval '17 minutes',
    CASE WHEN n % 3 = 0 THEN 'please deliver to the back door, reference ' || md5(n::text) END
FROM generate_series(1, 40000) n;
INSERT INTO order_line
SELECT o, line, 1 + (o * 31 + line * 97) % 500, 1 + (o + line) % 4
FROM generate_series(1, 40000) o, generate_series(1, 3) line;
CREATE VIEW turnover AS
SELECT date_trunc('month', placed_at) AS month, sum(quantity * price) AS total
FROM orders JOIN order_line ON order_id = orders.id JOIN product ON product.id = product_id GROUP BY 1;
