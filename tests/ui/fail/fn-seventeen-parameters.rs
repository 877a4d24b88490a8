use idempotent_runtime::idempotent;

#[idempotent(scope = "global")]
async fn pay(
    a: String,
    b: String,
    c: String,
    d: String,
    e: String,
    f: String,
    g: String,
    h: String,
    i: String,
    j: String,
    k: String,
    l: String,
    m: String,
    n: String,
    o: String,
    p: String,
    q: String,
) -> String {
    a + &b + &c + &d + &e + &f + &g + &h + &i + &j + &k + &l + &m + &n + &o + &p + &q
}

fn main() {}
