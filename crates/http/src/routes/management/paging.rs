//! Paging: by number (`page`, `per_page`, `include_totals`) and by checkpoint (`from`, `take`).
//!
//! A checkpoint is sealed: it opens only at the list it was made for, with the same filters, for a day.

use curfew_core::management::Document;
use curfew_core::management::page::{Page, Position, Window};
use curfew_model::Timestamp;
use curfew_tokens::SealKind;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answer, Call, fields};
use crate::render::management::{Problem, respond};

/// How long a checkpoint is good for.
const CHECKPOINT_SECONDS: i64 = 86_400;
/// Lists that count their items show no more than these by number.
const RECORDS_MAX: usize = 1000;

/// What a checkpoint holds.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// Path and filters of the list.
    list: String,
    at: i64,
    id: String,
    expires_at: i64,
}

impl Call {
    fn count(&self, name: &str) -> Option<usize> {
        self.query.get(name).and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok())
    }

    /// The list a checkpoint belongs to: its path and its filters.
    fn list_name(&self) -> String {
        let mut filters = self.query.clone();
        for name in ["from", "take", "include_totals", "fields", "include_fields"] {
            filters.remove(name);
        }
        format!("{} {}", self.path, Value::Object(filters))
    }

    /// At most how many items of a checkpoint list.
    pub(super) fn take(&self) -> usize {
        self.count("take").unwrap_or(50)
    }

    /// Opens `from`; without it the list begins.
    pub(super) async fn checkpoint(&self) -> Result<Option<Position>, Problem> {
        let Some(text) = self.text("from") else { return Ok(None) };
        let invalid = || Problem::query("Query validation error: 'Invalid cursor' on property from.");
        let config = self.core.tenant(self.ctx.tenant).await?;
        let opened =
            config.sealing.unseal(SealKind::Cursor, self.ctx.tenant, &text).map_err(|_| invalid())?;
        let checkpoint: Checkpoint = serde_json::from_slice(&opened.plaintext).map_err(|_| invalid())?;
        if checkpoint.list != self.list_name() || checkpoint.expires_at <= self.ctx.now.micros() {
            return Err(invalid());
        }
        Ok(Some(Position { at: Timestamp::from_micros(checkpoint.at), id: checkpoint.id }))
    }

    /// Seals a position as `next`.
    pub(super) async fn seal_checkpoint(&self, position: &Position) -> Result<String, Problem> {
        let checkpoint = Checkpoint {
            list: self.list_name(),
            at: position.at.micros(),
            id: position.id.clone(),
            expires_at: self.ctx.now.plus_seconds(CHECKPOINT_SECONDS).micros(),
        };
        let config = self.core.tenant(self.ctx.tenant).await?;
        Ok(config.seal(SealKind::Cursor, json!(checkpoint).to_string().as_bytes(), &self.ctx))
    }

    /// Which part of a list is asked for: by checkpoint as soon as `from` or `take` is there.
    pub(super) async fn window(&self) -> Result<Window, Problem> {
        if self.query.contains_key("from") || self.query.contains_key("take") {
            let position = self.checkpoint().await?.unwrap_or_else(Position::start);
            return Ok(Window::After { position, take: self.take() });
        }
        let limit = self.count("per_page").unwrap_or(50);
        Ok(Window::Offset { start: self.count("page").unwrap_or(0).saturating_mul(limit), limit })
    }

    /// As [`Call::window`] by number, for lists that end at the first thousand.
    pub(super) fn window_of_first_thousand(&self) -> Result<(usize, usize), Problem> {
        let limit = self.count("per_page").unwrap_or(50);
        let start = self.count("page").unwrap_or(0).saturating_mul(limit);
        if start.saturating_add(limit) > RECORDS_MAX {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "You can only page through the first 1000 records. See \
                 https://auth0.com/docs/users/search/v3/view-search-results-by-page#limitation",
            )
            .code("invalid_paging"));
        }
        Ok((start, limit))
    }

    /// The answer of a list: by checkpoint an object with `next`; by number an object with totals when they are asked
    /// for, else the bare list.
    pub(super) async fn show_page(&self, window: &Window, name: &'static str, page: Page) -> Answer {
        let items: Vec<Value> =
            page.items.into_iter().map(|item| Value::Object(fields::select(&self.query, item))).collect();
        match window {
            Window::Offset { start, limit } => {
                Ok(self.show_numbered(name, items, *start, *limit, page.total))
            }
            Window::After { .. } => self.show_checkpointed(name, items, page.next.as_ref()).await,
        }
    }

    /// A list by number.
    pub(super) fn show_numbered(
        &self,
        name: &'static str,
        items: Vec<Value>,
        start: usize,
        limit: usize,
        total: usize,
    ) -> axum::response::Response {
        if !self.flag("include_totals").unwrap_or(false) {
            return respond(StatusCode::OK, &Value::Array(items));
        }
        let mut body = Map::new();
        body.insert("start".into(), json!(start));
        body.insert("limit".into(), json!(limit));
        body.insert("length".into(), json!(items.len()));
        body.insert("total".into(), json!(total));
        body.insert(name.into(), Value::Array(items));
        respond(StatusCode::OK, &Value::Object(body))
    }

    /// Which part of a list by number is asked for: how many to pass over, and at most how many there are then.
    pub(super) fn numbered(&self) -> (usize, usize) {
        let limit = self.count("per_page").unwrap_or(50);
        (self.count("page").unwrap_or(0).saturating_mul(limit), limit)
    }

    /// A list by number that always says which part of how many it is.
    pub(super) fn show_part(&self, name: &'static str, items: Vec<Document>, total: usize) -> Answer {
        let mut body = Map::new();
        body.insert(name.into(), Value::Array(items.into_iter().map(Value::Object).collect()));
        body.insert("total".into(), json!(total));
        body.insert("page".into(), json!(self.count("page").unwrap_or(0)));
        body.insert("per_page".into(), json!(self.count("per_page").unwrap_or(50)));
        Ok(respond(StatusCode::OK, &Value::Object(body)))
    }

    /// A list by checkpoint.
    pub(super) async fn show_checkpointed(
        &self,
        name: &'static str,
        items: Vec<Value>,
        next: Option<&Position>,
    ) -> Answer {
        let mut body = Map::new();
        body.insert(name.into(), Value::Array(items));
        if let Some(position) = next {
            body.insert("next".into(), json!(self.seal_checkpoint(position).await?));
        }
        Ok(respond(StatusCode::OK, &Value::Object(body)))
    }

    /// As [`Call::show_checkpointed`], for lists in the order of a key.
    pub(super) async fn show_keyed(
        &self,
        name: &'static str,
        items: Vec<Value>,
        next: Option<String>,
    ) -> Answer {
        let position = next.map(|id| Position { at: Timestamp::from_micros(0), id });
        self.show_checkpointed(name, items, position.as_ref()).await
    }
}
