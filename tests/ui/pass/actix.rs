//! Handlers of actix-web, mounted as they would be without the attribute.

use std::{cell::RefCell, fmt, future, rc::Rc};

use actix_web::{
    App, Either, FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, Responder,
    ResponseError, dev::Payload, http::StatusCode, post, put, route, web,
};
use idempotent_runtime::{Execution, idempotent};

struct User {
    id: u64,
}

impl FromRequest for User {
    type Error = actix_web::Error;
    type Future = future::Ready<Result<Self, actix_web::Error>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        future::ready(Ok(Self { id: 7 }))
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    amount: String,
    currency: String,
}

#[derive(Debug)]
enum Refused {
    Number,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "refused")
    }
}

impl From<std::num::ParseIntError> for Refused {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Number
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

#[idempotent(scope = "global")]
async fn no_arguments() -> HttpResponseBuilder {
    HttpResponse::NoContent()
}

#[idempotent(scope = "global")]
async fn no_result() {}

#[idempotent(scope = user.id)]
async fn patterns(
    mut user: User,
    web::Json(Order {
        amount: mut first,
        ref currency,
    }): web::Json<Order>,
) -> String {
    user.id += 1;
    first.push_str(currency);
    format!("{} {first}", user.id)
}

#[idempotent(scope = user.id)]
#[post("/below")]
async fn route_below(user: User, order: web::Json<Order>) -> Result<web::Json<u64>, Refused> {
    let amount: u64 = order.amount.parse()?;
    Ok(web::Json(amount + user.id))
}

#[put("/above")]
#[idempotent(scope = user.id)]
async fn route_above(user: User, order: web::Json<Order>) -> actix_web::Result<HttpResponse> {
    let amount: u64 = order.amount.parse().map_err(Refused::from)?;
    Ok(HttpResponse::Created().json(amount + user.id))
}

#[idempotent(scope = "user")]
#[route("/several", method = "POST", method = "PUT", name = "several")]
async fn several_methods(id: web::Query<u64>) -> impl Responder {
    id.to_string()
}

#[idempotent(scope = "user")]
async fn some_result(id: web::Path<u64>) -> Result<impl Responder, Refused> {
    if *id == 0 {
        return Err(Refused::Number);
    }
    Ok(Either::Left::<_, String>(web::Json(*id)))
}

#[idempotent(scope = "user")]
async fn not_send(request: HttpRequest, shared: web::Data<RefCell<Vec<u64>>>) -> web::Json<u64> {
    let total = Rc::new(RefCell::new(request.headers().len() as u64));
    actix_web::rt::task::yield_now().await;
    shared.borrow_mut().push(*total.borrow());
    let total = *total.borrow();
    web::Json(total)
}

/// What both frameworks can answer with is actix-web's if it is not `Send`.
#[idempotent(scope = "user")]
async fn not_send_of_either(body: String) -> String {
    let body = Rc::new(body);
    actix_web::rt::task::yield_now().await;
    body.to_uppercase()
}

#[idempotent(scope = "user")]
async fn knows_its_run(execution: Execution, body: web::Bytes) -> HttpResponse {
    if execution.is_protected() && !body.is_empty() {
        execution.release();
    }
    HttpResponse::Accepted().finish()
}

trait Repository: 'static {
    fn add(&self, order: Order) -> u64;
}

struct Memory;

impl Repository for Memory {
    fn add(&self, order: Order) -> u64 {
        order.amount.len() as u64
    }
}

#[idempotent(scope = "user")]
async fn generic<R, O, const LIMIT: usize>(
    repository: web::Data<R>,
    order: web::Json<O>,
) -> Result<web::Json<u64>, Refused>
where
    R: Repository,
    O: Into<Order> + 'static,
{
    let order = order.into_inner().into();
    if order.amount.len() > LIMIT {
        return Err(Refused::Number);
    }
    Ok(web::Json(repository.add(order)))
}

#[idempotent(scope = "global")]
async fn twelve_arguments(
    _: HttpRequest,
    _: User,
    _: web::Data<Memory>,
    _: web::Path<()>,
    _: web::Query<()>,
    _: Execution,
    _: Option<web::Header<actix_web::http::header::Accept>>,
    _: Result<User, actix_web::Error>,
    _: HttpRequest,
    _: HttpRequest,
    mut last_but_one: User,
    web::Json(mut order): web::Json<Order>,
) -> web::Json<Order> {
    last_but_one.id += 1;
    order.amount = last_but_one.id.to_string();
    web::Json(order)
}

fn main() {
    let _ = App::new()
        .service(route_below)
        .service(route_above)
        .service(several_methods)
        .route("/1", web::post().to(no_arguments))
        .route("/2", web::route().to(no_result))
        .route("/3", web::post().to(patterns))
        .route("/4/{id}", web::post().to(some_result))
        .route("/5", web::post().to(not_send))
        .route("/6", web::post().to(not_send_of_either))
        .route("/7", web::post().to(knows_its_run))
        .route("/8", web::post().to(generic::<Memory, Order, 9>))
        .route("/9", web::post().to(twelve_arguments))
        .default_service(web::to(no_arguments));
}
