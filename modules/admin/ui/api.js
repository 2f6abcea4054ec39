// The one place that speaks to the server. Addresses are relative to the page, so any <Location> will do.
const base = new URL('api/v1/', document.baseURI);

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || String(status));
    this.status = status;
    this.field = body.field || '';
    this.retry = body.retry;
  }
}

const toLogin = () => { location.href = new URL('login', document.baseURI); };

// raw: the answer is a picture or a text, and data is a Blob.
export async function api(method, path, { body, csv, match, etag, signal, raw } = {}) {
  const headers = { Accept: raw ? '*/*' : 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (csv) headers['Content-Type'] = 'text/csv';
  if (match) headers['If-Match'] = match;
  if (etag) headers['If-None-Match'] = etag;
  const r = await fetch(new URL(path, base), {
    method, headers, signal, cache: 'no-store', redirect: 'manual', credentials: 'same-origin',
    body: csv || (body === undefined ? undefined : JSON.stringify(body)),
  });
  if (r.status === 401 || r.type === 'opaqueredirect') { toLogin(); throw new Problem(401, {}); }
  if (r.status === 304) return { same: true };
  if (raw && r.ok) return { data: await r.blob() };
  const text = await r.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { data = null; }
  if (!r.ok) throw new Problem(r.status, data || {});
  return { data, etag: r.headers.get('ETag'), location: r.headers.get('Location') };
}

// Posts, and tells each line of the answer (newline-delimited JSON) as soon as it is here.
export async function lines(path, body, tell) {
  const r = await fetch(new URL(path, base), {
    method: 'POST', cache: 'no-store', redirect: 'manual', credentials: 'same-origin',
    headers: { Accept: 'application/x-ndjson', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (r.status === 401 || r.type === 'opaqueredirect') { toLogin(); throw new Problem(401, {}); }
  if (!r.ok) throw new Problem(r.status, await r.json().catch(() => ({})));
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value || '')).split('\n');
    rest = done ? '' : parts.pop();
    parts.filter(Boolean).forEach((line) => tell(JSON.parse(line)));
    if (done) return;
  }
}

export const url = (path) => new URL(path, base).href;
export const query = (o) => {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(o)) if (v !== '' && v !== undefined && v !== null) q.set(k, v);
  const s = q.toString();
  return s ? `?${s}` : '';
};

// Asks again every few seconds while the page is seen; tells what is new. etag: of what the page shows already; without one it shows nothing yet.
export function poll(path, signal, tell, { every = 5000, etag } = {}) {
  let timer;
  const ask = async () => {
    if (!document.hidden) {
      try {
        const r = await api('GET', path, { etag, signal });
        if (!r.same) { etag = r.etag; tell(r.data); }
      } catch (e) {
        if (signal.aborted || e.status === 401) return;
      }
    }
    if (!signal.aborted) timer = setTimeout(ask, every);
  };
  signal.addEventListener('abort', () => clearTimeout(timer));
  if (etag) timer = setTimeout(ask, every); else ask();
}
