//! The document of the API, at `/openapi.json`, and a page to read it on, at `/docs/`.

use idempotent_runtime::openapi::ExpiresHeader;
use ledger::{Credentials, ErrorBody};
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::{orders, payments};

#[derive(OpenApi)]
#[openapi(
    paths(
        payments::create,
        payments::list,
        payments::show,
        orders::create,
        orders::list,
        orders::show,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Credentials, &ExpiresHeader),
)]
struct Document;

pub(crate) fn page() -> SwaggerUi {
    SwaggerUi::new("/docs").url("/openapi.json", Document::openapi())
}
