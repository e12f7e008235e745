//! Which part of a list is asked for.

use curfew_model::Timestamp;

use super::Document;

/// Where a list goes on: after the item made at this instant under this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The item's `created_at`.
    pub at: Timestamp,
    /// The item's id, which orders items made at the same instant.
    pub id: String,
}

impl Position {
    /// Before every item.
    pub const fn start() -> Self {
        Self { at: Timestamp::from_micros(i64::MIN), id: String::new() }
    }
}

/// The part of a list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// By number: so many from the start on are passed over.
    Offset {
        /// How many to pass over.
        start: usize,
        /// At most so many.
        limit: usize,
    },
    /// By place: what comes after a position.
    After {
        /// Where the last part ended.
        position: Position,
        /// At most so many.
        take: usize,
    },
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The items.
    pub items: Vec<Document>,
    /// How many there are in all; only for [`Window::Offset`].
    pub total: usize,
    /// Where the next part begins, when there is one; only for [`Window::After`].
    pub next: Option<Position>,
}

/// Collects a page from items that come in order.
#[derive(Debug)]
pub struct Collector {
    skip: usize,
    limit: usize,
    by_place: bool,
    page: Page,
    last: Option<Position>,
}

/// Whether a collector wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Go on.
    Wanted,
    /// The page is complete.
    Enough,
}

impl Collector {
    /// An empty page.
    pub fn new(window: &Window) -> Self {
        let (skip, limit, by_place) = match window {
            Window::Offset { start, limit } => (*start, *limit, false),
            Window::After { take, .. } => (0, *take, true),
        };
        Self { skip, limit, by_place, page: Page { items: Vec::new(), total: 0, next: None }, last: None }
    }

    /// Where to begin reading.
    pub fn begin(window: &Window) -> Position {
        match window {
            Window::Offset { .. } => Position::start(),
            Window::After { position, .. } => position.clone(),
        }
    }

    /// Takes the next item that belongs to the list. `view` is only called for items on the page.
    pub fn push<E>(
        &mut self,
        position: Position,
        view: impl FnOnce() -> Result<Document, E>,
    ) -> Result<More, E> {
        let index = self.page.total;
        self.page.total += 1;
        if index < self.skip {
            return Ok(More::Wanted);
        }
        if self.page.items.len() < self.limit {
            self.page.items.push(view()?);
            self.last = Some(position);
            return Ok(More::Wanted);
        }
        if self.by_place {
            self.page.next = self.last.take();
            return Ok(More::Enough);
        }
        Ok(More::Wanted)
    }

    /// The page.
    pub fn finish(self) -> Page {
        self.page
    }
}

/// Reads a list in key order, chunk by chunk, until the block says [`More::Enough`] or it is over.
macro_rules! scan {
    ($tx:expr, $tenant:expr, $list:path, $window:expr, $key:ident, |$row:ident, $position:ident| $visit:expr) => {{
        let mut at = $crate::management::page::Collector::begin($window);
        'chunks: loop {
            let rows = $list(&mut *$tx, $tenant, (at.at, &at.id), $crate::management::page::CHUNK).await?;
            let last = rows.len() < $crate::management::page::CHUNK as usize;
            for $row in rows {
                let $position =
                    $crate::management::page::Position { at: $row.created_at, id: $row.$key.to_string() };
                at = $position.clone();
                if $visit == $crate::management::page::More::Enough {
                    break 'chunks;
                }
            }
            if last {
                break;
            }
        }
    }};
}
pub(crate) use scan;

/// How many rows are read at a time.
pub(crate) const CHUNK: i64 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(window: &Window, count: i64) -> Page {
        let mut collector = Collector::new(window);
        for n in 0..count {
            let position = Position { at: Timestamp::from_micros(n), id: n.to_string() };
            let mut item = Document::new();
            item.insert("n".into(), n.into());
            if collector.push(position, || Ok::<_, ()>(item)) == Ok(More::Enough) {
                break;
            }
        }
        collector.finish()
    }

    fn numbers(page: &Page) -> Vec<i64> {
        page.items.iter().filter_map(|item| item["n"].as_i64()).collect()
    }

    #[test]
    fn offsets_count_everything() {
        let page = collect(&Window::Offset { start: 2, limit: 2 }, 5);
        assert_eq!((numbers(&page), page.total, page.next), (vec![2, 3], 5, None));
        let beyond = collect(&Window::Offset { start: 9, limit: 2 }, 5);
        assert_eq!((numbers(&beyond), beyond.total), (vec![], 5));
    }

    #[test]
    fn places_say_where_to_go_on_only_when_there_is_more() {
        let window = Window::After { position: Position::start(), take: 2 };
        let page = collect(&window, 3);
        assert_eq!(numbers(&page), [0, 1]);
        assert_eq!(page.next, Some(Position { at: Timestamp::from_micros(1), id: "1".into() }));
        assert_eq!(collect(&window, 2).next, None);
    }
}
