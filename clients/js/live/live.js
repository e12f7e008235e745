// Curfew's live line: hears within milliseconds that the session of this browser has ended.
// watchSession({ domain, idToken, onEnded, check }) returns a function that stops it; see README.md.
export function watchSession({ domain, idToken, onEnded, check, every = 60_000 }) {
  // As auth0-spa-js takes it: a host, or with its scheme where that is not https.
  const url = `${/^https?:/.test(domain) ? domain : `https://${domain}`}/session/live`;
  let line, timer, failures = 0, over = false;
  const stop = () => { over = true; clearTimeout(timer); line?.close(); };
  const end = (told) => { if (!over) { stop(); onEnded(told); } };
  const later = (ms) => { line?.close(); if (!over) timer = setTimeout(open, ms); };
  const open = async () => {
    try {
      const answer = await fetch(url, { method: 'POST', credentials: 'omit', body: new URLSearchParams({ id_token: await idToken() }) });
      if (over) return;
      if (answer.status === 403) throw 0;
      if (!answer.ok) throw 1;
      const { ticket } = await answer.json();
      line = new EventSource(`${url}?${new URLSearchParams({ ticket })}`);
      line.addEventListener('alive', () => { failures = 0; });
      line.addEventListener('ended', (event) => end(JSON.parse(event.data)));
      line.onerror = () => later(Math.random() * Math.min(30_000, 500 * 2 ** failures++));
    } catch {
      // No line: ask as applications always did.
      try { await check(); } catch (error) { if (error?.error === 'login_required') return end({}); }
      later(every);
    }
  };
  open();
  return stop;
}
