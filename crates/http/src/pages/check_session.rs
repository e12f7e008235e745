//! The frame by which applications learn that who is logged in in this browser has changed.

use super::headers::{Headers, Opener, Policy};
use super::{Chrome, Page};

/// The frame of OIDC Session Management §3.2 (`check_session_iframe`).
///
/// Applications of any origin may frame it; it has nothing to show, and does nothing but answer messages. It answers those of its
/// parent's origin only (§3.2: "The OP iframe MUST enforce that the caller has the same origin as its parent frame"), and
/// `unchanged` only to who presents a `session_state` that was made for its own origin, one of the client's callbacks.
/// All that others can learn is `changed`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckSessionPage;

/// Without anything that depends on the request.
const SCRIPT: &str = r#"
(function () {
  'use strict';
  function parentOrigin() {
    if (location.ancestorOrigins) return location.ancestorOrigins[0];
    try { return new URL(document.referrer).origin; } catch (error) { return null; }
  }
  function browserState() {
    var name = location.protocol === 'https:' ? '__Host-curfew-state=' : 'curfew-state=';
    var own = document.cookie.split('; ').filter(function (cookie) { return cookie.indexOf(name) === 0; })[0];
    return own ? own.slice(name.length) : '';
  }
  function compute(clientId, origin, salt) {
    var text = new TextEncoder().encode([clientId, origin, browserState(), salt].join(' '));
    return crypto.subtle.digest('SHA-256', text).then(function (digest) {
      var hash = btoa(String.fromCharCode.apply(null, new Uint8Array(digest)));
      return hash.replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '') + '.' + salt;
    });
  }
  addEventListener('message', function (event) {
    if (window.parent === window || !event.source || event.origin !== parentOrigin()) return;
    function answer(status) { event.source.postMessage(status, event.origin); }
    var parts = typeof event.data === 'string' && event.data.length < 2048
      ? /^([^ ]+) ([A-Za-z0-9_-]{43})\.([A-Za-z0-9]{16})$/.exec(event.data) : null;
    if (!parts || !window.crypto || !crypto.subtle) return answer('error');
    compute(parts[1], event.origin, parts[3]).then(function (state) {
      answer(state === parts[2] + '.' + parts[3] ? 'unchanged' : 'changed');
    }, function () { answer('error'); });
  });
})();
"#;

impl Page for CheckSessionPage {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let nonce = chrome.nonce.as_str();
        format!(
            "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>Session</title>\
            <script nonce=\"{nonce}\">{SCRIPT}</script></head><body></body></html>\n"
        )
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept).script().framed_by_anybody().headers()
    }
}
