//! What was thrown, in words for the one who wrote it.

use rquickjs::{Coerced, Ctx, Object, Value};

use super::{Shared, raw};
use crate::ActionError;
use crate::calls::cut;
use crate::finished::{THROWN_NAME_BYTES_MAX, THROWN_TEXT_BYTES_MAX};

const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Says what `thrown` is. Reading it may run the Action's code (a getter, `toString`), still under its limits.
pub(super) fn describe<'js>(ctx: &Ctx<'js>, thrown: Value<'js>, shared: &Shared) -> ActionError {
    if shared.watch.fired() {
        return ActionError::TimedOut { hard: false };
    }
    if shared.missing.take() {
        return ActionError::NoSuchFunction;
    }
    let error = read(ctx, &thrown);
    if shared.watch.fired() {
        return ActionError::TimedOut { hard: false };
    }
    if shared.budget.refused()
        && (thrown.is_null() || thrown.is_undefined() || error.1.contains("out of memory"))
    {
        return ActionError::OutOfMemory;
    }
    let (name, message, stack) = error;
    ActionError::Thrown { name, message, stack }
}

/// Name, message and stack.
fn read<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> (String, String, String) {
    let Some(object) = thrown.as_object().filter(|_| thrown.is_error() || looks_like_error(ctx, thrown))
    else {
        return ("Error".to_owned(), string_of(ctx, thrown), String::new());
    };
    let member = |name: &str| match object.get::<_, Value<'js>>(name) {
        Ok(value) if !value.is_undefined() && !value.is_null() => string_of(ctx, &value),
        Ok(_) => String::new(),
        Err(_) => {
            ctx.catch();
            String::new()
        }
    };
    let name = match member("name") {
        name if name.is_empty() => "Error".to_owned(),
        name => cut(&name, THROWN_NAME_BYTES_MAX),
    };
    (name, cut(&member("message"), MESSAGE_BYTES_MAX), own_frames(&member("stack")))
}

/// Whether an object that is no error has what errors have, as those of a `DOMException` written in JavaScript.
fn looks_like_error<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> bool {
    let both = |object: &Object<'js>| {
        Ok::<_, rquickjs::Error>(object.contains_key("message")? && object.contains_key("stack")?)
    };
    thrown.as_object().is_some_and(|object| {
        both(object).unwrap_or_else(|_| {
            ctx.catch();
            false
        })
    })
}

/// `String(value)`, or nothing where that throws.
pub(super) fn string_of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> String {
    match value.get::<Coerced<rquickjs::String<'js>>>().and_then(|text| raw::text(&text.0)) {
        Ok(text) => cut(&text, THROWN_TEXT_BYTES_MAX),
        Err(_) => {
            ctx.catch();
            String::new()
        }
    }
}

/// The lines of a stack that lie in the Action's own files, and not in the runtime's.
fn own_frames(stack: &str) -> String {
    let mut own = String::new();
    for line in stack.lines().filter(|line| !line.contains("(curfew:") && !line.contains(" curfew:")) {
        own.push_str(line.trim_end());
        own.push('\n');
    }
    cut(own.trim_end(), THROWN_TEXT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_has_no_lines_in_a_stack() {
        let stack = "    at inner (action.js:2:3)\n    at curfew:bootstrap:7:1\n    at run (curfew:bootstrap:9:9)\n    at call (native)\n";
        assert_eq!(own_frames(stack), "    at inner (action.js:2:3)\n    at call (native)");
    }
}
