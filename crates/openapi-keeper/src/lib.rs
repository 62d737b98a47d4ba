//! Keeps an OpenAPI description in step with the service that it describes.

pub mod description;
pub mod diff;
pub mod normal;
pub mod openapi;
