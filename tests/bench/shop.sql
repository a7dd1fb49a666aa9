-- A shop as a shop is, for the benchmark: psql -v scale=N -f shop.sql DATABASE (which must be empty).
-- A unit of scale is about 10 MB of `pg_dump -Fc -Z0`, of which gzip -9 saves about three quarters. The same rows at each run:
-- random() is seeded, no plan is parallel, and no value depends on the time of day.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET timezone = 'UTC';
SELECT setseed(0.5772) \g /dev/null
SELECT 1500 * :scale AS customers, 380 * :scale AS products, 9000 * :scale AS orders \gset

-- One of a list; the first ones come more often.
CREATE FUNCTION pg_temp.pick(choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
    'SELECT choices[1 + floor(cardinality(choices) * random() * random())::int]';

-- So many words of what customers write about what they bought; frequent words are frequent.
CREATE FUNCTION pg_temp.prose(length int) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT upper(left(text, 1)) || substr(text, 2) || '.' FROM (
        SELECT string_agg(word || CASE WHEN random() < 0.08 THEN '.' WHEN random() < 0.07 THEN ',' ELSE '' END, ' ') AS text
        FROM (SELECT ('{the,it,a,and,is,i,to,of,was,for,in,this,very,with,my,not,on,but,that,we,they,have,as,so,you,are,after,one,too,had,
            be,good,all,at,from,like,just,well,great,would,bought,nice,out,two,looks,price,quality,arrived,bit,more,than,what,again,our,
            there,which,first,only,quite,when,day,week,works,small,used,still,because,colour,home,time,really,than,has,does,little,made,
            perfect,easy,delivery,fast,size,by,even,up,months,about,kitchen,money,worth,will,if,box,light,recommend,expected,looking,big,
            could,them,some,happy,can,other,strong,back,wood,ordered,their,how,than,without,much,material,every,customer,service,product,
            better,feels,around,years,packaging,broken,picture,cheap,heavy,table,always,room,into,glass,fits,put,soft,however,returned,
            second,already,husband,wife,daughter,birthday,present,sturdy,assembly,instructions,missing,screw,scratch,replacement,refund,
            friendly,answered,within,hours,garden,summer,winter,warm,cold,washing,machine,stain,thin,thick,smell,gone,handle,lid,leaks,
            drawer,wall,bright,dark,lamp,bulb,cable,short,long,battery,charge,noise,quiet,loud,design,modern,classic,simple,elegant,
            practical,space,storage,shelf,holds,weight,stable,wobbles,uneven,floor,legs,corner,edges,finish,surface,clean,wipe,water,
            dishwasher,safe,children,cat,dog,sofa,cushion,cover,zip,seam,thread,cotton,linen,wool,leather,oak,pine,steel,brass,copper,
            ceramic,porcelain,crack,chip,dent,disappointed,impressed,surprised,satisfied,exactly,described,photo,website,checkout,coupon,
            discount,gift,wrapped,card,neighbour,courier,doorstep,rain,damaged,carton,foam,plastic,recycled,paper,waste,less,please}'::text[])
            [1 + floor(278 * power(random(), 2.2))::int] AS word FROM generate_series(1, length)) words) sentence $$;

-- A person, by number.
CREATE FUNCTION pg_temp.person(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT ('{Anna,Bruno,Chiara,Dieter,Élodie,Farid,Greta,Håkon,Ilse,Jürgen,Kateřina,Luca,Maja,Nikos,Olga,Pedro,Quentin,
        Rosa,Søren,Teresa}'::text[])[1 + n % 20]
        || ' ' || ('{Aalto,Baumann,Castelli,Duval,Eriksen,Ferreira,Gruber,Hoffmann,Ivanov,Jansen,Kovács,Lindqvist,
        Marino,Nowak,Okoye,Petit,Richter,Sørensen,Tanaka,Urban,Vogel,Weiss,Žižek}'::text[])[1 + n / 20 % 23] $$;

CREATE TYPE order_state AS ENUM ('placed', 'paid', 'packed', 'shipped', 'delivered', 'returned');

CREATE TABLE customer AS
SELECT n AS id, ids.uuid AS public_id,
    pg_temp.person(n % 100000 * 7919) AS name,
    'customer.' || n || '@' || pg_temp.pick('{example.com,example.org,mail.example.net,post.example}') AS email,
    encode(sha256(ids.uuid::text::bytea), 'hex') AS password_hash,
    jsonb_build_object('street', pg_temp.pick('{Lindenweg,Rue du Moulin,High Street,Via Roma,Storgatan,Calle Mayor,Dorpsstraat}')
            || ' ' || 1 + n * 31 % 180,
        'postcode', lpad((n % 100000 * 7907 % 100000)::text, 5, '0'), 'city', pg_temp.pick('{Lyon,Graz,Utrecht,Leeds,Parma,Uppsala,Cádiz,Brno,Aarhus}'),
        'country', pg_temp.pick('{DE,FR,NL,GB,IT,SE,ES,CZ,DK}')) AS address,
    jsonb_build_object('newsletter', random() < 0.4, 'language', pg_temp.pick('{de,fr,nl,en,it,sv,es,cs,da}'), 'theme', pg_temp.pick('{light,dark}'),
        'notify', jsonb_build_object('order', true, 'offer', random() < 0.3, 'review', random() < 0.6)) AS settings,
    timestamptz '2019-03-01' + random() * interval '2200 days' AS joined_at
FROM generate_series(1, :customers) n, LATERAL (SELECT md5(n || ' ' || random())::uuid AS uuid) ids;

CREATE TABLE product AS
SELECT n AS id, 'SKU-' || lpad((n * 37)::text, 8, '0') AS sku,
    initcap(pg_temp.pick('{oak,steel,linen,glass,brass,ceramic,walnut,wool}'))
        || ' ' || pg_temp.pick('{table,lamp,chair,bowl,shelf,rug,mirror,vase,clock,basket}') || ' ' || n AS name,
    pg_temp.prose(25 + n % 60) AS description, (3 + random() * random() * 900)::numeric(10, 2) AS price,
    jsonb_build_object('weight_g', n * 131 % 9000, 'size_cm', jsonb_build_array(n * 7 % 200, n * 11 % 120, n * 13 % 90),
        'care', pg_temp.pick('{wipe,hand wash,machine wash,dry}')) AS attributes
FROM generate_series(1, :products) n;

CREATE TABLE orders AS
SELECT n::bigint AS id, md5('order' || n)::uuid AS public_id, 1 + floor(:customers * random())::int AS customer_id,
    timestamptz '2022-01-01' + n * interval '19 minutes' / :scale + random() * interval '15 minutes' AS placed_at,
    CASE WHEN random() < 0.03 THEN 'returned' ELSE (enum_range(NULL::order_state))[5 - floor(5 * power(random(), 6))::int] END AS state,
    pg_temp.pick('{parcel,express,pick-up,freight}') AS shipping,
    CASE WHEN random() < 0.12 THEN pg_temp.prose(4 + n % 15) END AS note
FROM generate_series(1, :orders) n;

CREATE TABLE order_line AS
SELECT id AS order_id, line::smallint AS line, product_id, 1 + floor(4 * random() * random())::smallint AS quantity,
    (3 + product_id % 100000 * 7919 % 90000 / 100.0)::numeric(10, 2) AS unit_price, (ARRAY[0.19, 0.07, 0.20])[1 + product_id % 3]::numeric(4, 2) AS tax_rate
FROM (SELECT id, line, 1 + floor(:products * random() * random())::int AS product_id
    FROM orders, generate_series(1, 1 + (id % 7 * 3 % 5)::int) line) lines;

CREATE TABLE payment AS
SELECT orders.id, orders.id AS order_id, pg_temp.pick('{card,transfer,wallet,invoice}') AS method,
    'pay_' || left(md5(random()::text), 24) AS reference,
    amount::numeric(12, 2), placed_at + random() * interval '3 hours' AS paid_at
FROM orders JOIN (SELECT order_id, sum(quantity * unit_price) AS amount FROM order_line GROUP BY order_id
    ORDER BY order_id) sums ON order_id = orders.id
ORDER BY orders.id;

CREATE TABLE review AS
SELECT n AS id, 1 + floor(:products * random() * random())::int AS product_id, 1 + floor(:customers * random())::int AS customer_id,
    (5 - floor(5 * power(random(), 3)))::smallint AS stars, pg_temp.prose(3 + n % 4) AS title,
    pg_temp.prose(15 + (180 * random() * random())::int) AS body,
    date '2022-01-02' + (n / :scale) AS written_on
FROM generate_series(1, 3300 * :scale) n;

CREATE TABLE event AS
SELECT n::bigint AS id, at, jsonb_build_object('type', type, 'session', md5((n / 9)::text || 'session'),
    'customer', n / 9 * 37 % :customers, 'at', at,
    'page', '/' || pg_temp.pick('{product,category,cart,checkout,search,account}') || '/' || n * 17 % 900,
    'device', jsonb_build_object('kind', pg_temp.pick('{phone,desktop,tablet}'),
        'width', pg_temp.pick('{390,1920,1440,820,360}')::int), 'duration_ms', floor(3000 * random() * random()),
    'tags', jsonb_build_array(type, pg_temp.pick('{spring,summer,sale,new,none}'))) AS data
FROM (SELECT n, pg_temp.pick('{view,click,search,add_to_cart,scroll,remove_from_cart,purchase}') AS type,
    timestamptz '2026-01-01' + n * interval '41 seconds' / :scale AS at
    FROM generate_series(1, 8000 * :scale) n) events;

CREATE TABLE access_log AS
SELECT n::bigint AS id, format('10.%s.%s.%s - - [%s +0000] "%s %s HTTP/1.1" %s %s "%s" "%s"', n * 13 % 40, n * 29 % 250, floor(250 * random()),
    to_char(timestamp '2026-02-01' + n * interval '3 seconds' / :scale, 'DD/Mon/YYYY:HH24:MI:SS'), pg_temp.pick('{GET,GET,GET,POST,HEAD}'),
    pg_temp.pick('{/,/product/,/static/app.js,/static/app.css,/api/cart,/search?q=,/images/,/checkout}') || floor(4000 * random() * random()),
    pg_temp.pick('{200,200,304,302,404,500}'),
    floor(60000 * random() * random()), pg_temp.pick('{-,https://shop.example/,https://search.example/?q=oak+table}'),
    pg_temp.pick('{Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0,Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/141.0,
    Mozilla/5.0 (iPhone; CPU iPhone OS 18_1) Safari/604.1,curl/8.5}')) AS line
FROM generate_series(1, 9000 * :scale) n;

CREATE TABLE measurement AS
SELECT 1 + n % 40 AS sensor_id, timestamptz '2026-01-01' + n / 40 * interval '1 minute' AS at,
    (18 + 6 * sin(n / 9000.0) + n % 40 / 10.0 + random())::numeric(6, 2) AS celsius,
    (45 + 15 * cos(n / 7000.0) + 2 * random())::real AS humidity, floor(20 * random() * random())::int AS visitors
FROM generate_series(0, 24000 * :scale - 1) n;

-- What does not compress: thumbnails, and the tokens of sessions.
CREATE TABLE thumbnail AS
SELECT n AS product_id, 'image/webp' AS media_type,
    (SELECT string_agg(sha256((n || ' ' || part || random())::bytea), ''::bytea)
    FROM generate_series(1, 40 + n % 200) part) AS image
FROM generate_series(1, 80 * :scale) n;
CREATE TABLE session AS
SELECT encode(sha256((n || ' ' || random())::bytea), 'hex') AS token_hash, 1 + floor(:customers * random())::int AS customer_id,
    timestamptz '2026-02-01' + random() * interval '30 days' AS seen_at
FROM generate_series(1, 2200 * :scale) n;

ALTER TABLE customer ADD PRIMARY KEY (id), ADD UNIQUE (email), ALTER name SET NOT NULL;
ALTER TABLE product ADD PRIMARY KEY (id), ADD UNIQUE (sku), ADD CHECK (price > 0);
ALTER TABLE orders ADD PRIMARY KEY (id), ADD FOREIGN KEY (customer_id) REFERENCES customer;
ALTER TABLE order_line ADD PRIMARY KEY (order_id, line), ADD FOREIGN KEY (order_id) REFERENCES orders,
    ADD FOREIGN KEY (product_id) REFERENCES product;
ALTER TABLE payment ADD PRIMARY KEY (id), ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE review ADD PRIMARY KEY (id), ADD FOREIGN KEY (product_id) REFERENCES product, ADD FOREIGN KEY (customer_id) REFERENCES customer;
ALTER TABLE event ADD PRIMARY KEY (id);
ALTER TABLE access_log ADD PRIMARY KEY (id);
ALTER TABLE measurement ADD PRIMARY KEY (sensor_id, at);
ALTER TABLE thumbnail ADD PRIMARY KEY (product_id), ADD FOREIGN KEY (product_id) REFERENCES product;
ALTER TABLE session ADD PRIMARY KEY (token_hash);
CREATE SEQUENCE order_number OWNED BY orders.id;
SELECT setval('order_number', max(id)) FROM orders \g /dev/null
CREATE INDEX ON orders (customer_id, placed_at);
CREATE INDEX ON review (product_id);
CREATE INDEX ON event USING gin (data jsonb_path_ops);
CREATE VIEW turnover AS
SELECT date_trunc('month', placed_at) AS month, sum(quantity * unit_price) AS total FROM orders JOIN order_line ON order_id = orders.id GROUP BY 1;
