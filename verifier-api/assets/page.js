// Live values, their age and seal state, the chart, today's figures, new reports. No library.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const texts = JSON.parse(document.body.dataset.texts);

  // --- signing in: a link may carry the token behind `#`, which browsers never send to a server
  const login = byId("login");
  if (login && location.hash.length > 1) {
    byId("token").value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname + location.search);
    login.submit();
  }

  const root = byId("project");
  if (!root) return;
  for (const time of document.querySelectorAll("time")) time.textContent = clock(Date.parse(time.dateTime), true);
  const base = `/v1/projects/${encodeURIComponent(root.dataset.project)}`;
  const WINDOW_MS = 600000;

  // In the plan's zone, the same for every reader: 2026-03-10 00:15:00.
  function clock(ms, date) {
    const two = "2-digit";
    const wanted = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23" };
    const format = new Intl.DateTimeFormat("en", { ...wanted, timeZone: root.dataset.zone || "UTC" });
    const part = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const time = `${part.hour}:${part.minute}:${part.second}`;
    return date ? `${part.year}-${part.month}-${part.day} ${time}` : time;
  }
  function span(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 120) return `${s} ${texts.seconds}`;
    if (s < 7200) return `${Math.floor(s / 60)} ${texts.minutes}`;
    if (s < 172800) return `${Math.floor(s / 3600)} ${texts.hours}`;
    return `${Math.floor(s / 86400)} ${texts.days}`;
  }
  // Shown with few digits; the exact decimal is in the title. Cut, never rounded up.
  function brief(exact) {
    const [whole, part = ""] = exact.split(".");
    return part.length > 4 ? `${whole}.${part.slice(0, 4)}…` : exact;
  }
  function fill(list, lines) {
    list.replaceChildren(...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  }

  // --- rows and series -----------------------------------------------------------------------
  const rows = new Map(); // "log name" -> what is known of the point
  let offset = Number(root.dataset.now) - Date.now(); // server clock less ours
  const now = () => Date.now() + offset;
  const key = (log, name) => `${log} ${name}`;
  for (const row of document.querySelectorAll("#points tbody tr")) {
    const { log, name, stream, unit, kind, tick } = row.dataset;
    const point = { row, log, name, unit, kind, hole: 3 * Math.max(Number(tick), 5000), stream: Number(stream), at: null, sealed: false, series: [], loaded: false };
    rows.set(key(log, name), point);
    row.querySelector(".pick").addEventListener("click", () => pick(point));
  }
  const gateways = new Map([...document.querySelectorAll(".gateway")].map((card) => [card.dataset.log, { card, heard: null }]));

  function badge(point) {
    const mark = point.row.querySelector(".badge");
    if (point.at === null) return;
    const bad = point.quality && point.quality !== "good";
    mark.className = `badge ${bad ? "bad" : point.sealed ? "sealed" : "live"}`;
    const state = point.sealed ? texts.state_sealed : texts.state_live;
    mark.textContent = bad ? `${point.quality} · ${state}` : state;
  }
  function ages() {
    for (const point of rows.values()) {
      if (point.at === null) continue;
      const age = now() - point.at;
      const cell = point.row.querySelector(".age");
      cell.textContent = span(age);
      cell.classList.toggle("old", age > 300000);
    }
    for (const { card, heard } of gateways.values()) {
      if (heard === null) continue;
      const silent = now() - heard > 180000;
      card.querySelector(".heard").textContent = `${span(now() - heard)} · ${silent ? texts.gateway_late : texts.gateway_ok}`;
    }
  }
  function add(point, t, v, sealed) {
    const last = point.series.at(-1);
    if (last && t <= last.t) return;
    point.series.push({ t, v, sealed });
    while (point.series.length && point.series[0].t < t - WINDOW_MS) point.series.shift();
  }
  function number(text) {
    const value = text === null ? NaN : Number(text);
    return Number.isFinite(value) ? value : null;
  }

  function take(event) {
    offset = event.server_ms - Date.now();
    const sealed = new Map(event.sealed.map((s) => [s.stream, s.to_ms]));
    for (const live of event.points) {
      const point = rows.get(key(event.log, live.name));
      if (!point) continue;
      point.row.querySelector(".reading").textContent = live.value ?? "–";
      if (live.time_ms !== null) point.at = live.time_ms;
      point.quality = live.quality;
      point.sealed = live.sealed;
      if (live.time_ms !== null) add(point, live.time_ms, live.quality === "good" ? number(live.value) : null, live.sealed);
      badge(point);
    }
    for (const point of rows.values()) {
      const to = point.log === event.log ? sealed.get(point.stream) : null;
      if (to) for (const sample of point.series) if (sample.t < to) sample.sealed = true;
    }
    const gateway = gateways.get(event.log);
    if (gateway) {
      const to = Math.min(...event.sealed.map((s) => s.to_ms ?? Infinity));
      if (Number.isFinite(to)) gateway.card.querySelector(".sealed-to").textContent = clock(to, true);
      if (event.cosigned) gateway.card.querySelector(".cosigned").textContent = clock(Date.parse(event.cosigned), true);
      const size = gateway.card.querySelector(".size");
      if (size.textContent !== String(event.size)) refreshToday(2000);
      size.textContent = event.size;
      if (event.sent_ms !== null) gateway.heard = event.sent_ms;
    }
    ages();
    draw();
  }

  // --- chart ---------------------------------------------------------------------------------
  let picked = null;
  async function pick(point) {
    picked = point;
    for (const other of rows.values()) {
      other.row.classList.toggle("picked", other === point);
      other.row.querySelector(".pick").setAttribute("aria-pressed", String(other === point));
    }
    byId("chart-name").textContent = `${point.name} (${point.unit})`;
    const iso = (ms) => new Date(ms).toISOString();
    const asked = (from) => new URLSearchParams({ point: point.name, log: point.log, from: iso(from), to: iso(now()) });
    byId("chart-csv").href = `${base}/readings?${asked(now() - 86400000)}&format=csv`;
    draw();
    if (point.loaded) return;
    point.loaded = true;
    try {
      const answer = await fetch(`${base}/readings?${asked(now() - WINDOW_MS)}`);
      if (!answer.ok) return;
      const { readings } = await answer.json();
      const sealed = readings.map((r) => ({ t: Date.parse(r.time), v: r.quality === "good" ? number(r.value) : null, sealed: true }));
      const end = sealed.length ? sealed.at(-1).t : 0;
      point.series = [...sealed, ...point.series.filter((sample) => sample.t > end)];
      draw();
    } catch { point.loaded = false; }
  }
  function steps(low, high) {
    const raw = (high - low) / 4;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw);
    const marks = [];
    for (let mark = Math.ceil(low / step) * step; mark <= high + step / 1e6; mark += step) marks.push(mark);
    return { marks, digits: Math.max(0, -Math.floor(Math.log10(step))) };
  }
  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function draw() {
    if (!picked) return;
    const plot = byId("plot");
    const end = now();
    const samples = picked.series.filter((sample) => sample.t > end - WINDOW_MS);
    const values = samples.filter((sample) => sample.v !== null).map((sample) => sample.v);
    byId("chart-empty").hidden = values.length > 0;
    const width = plot.clientWidth || 720;
    const height = plot.clientHeight || 220;
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = [];
    if (values.length) {
      let low = Math.min(...values);
      let high = Math.max(...values);
      const pad = (high - low) * 0.08 || Math.abs(high) * 0.01 || 1;
      low -= pad; high += pad;
      const { marks, digits } = steps(low, high);
      const labels = marks.map((mark) => mark.toFixed(digits));
      const left = 12 + 7.2 * Math.max(...labels.map((label) => label.length));
      const x = (t) => left + (width - left - 8) * (t - end + WINDOW_MS) / WINDOW_MS;
      const y = (v) => 8 + (height - 34) * (high - v) / (high - low);
      marks.forEach((mark, i) => {
        parts.push(element("line", { class: "grid", x1: left, x2: width - 8, y1: y(mark), y2: y(mark) }));
        parts.push(element("text", { x: left - 6, y: y(mark) + 4, "text-anchor": "end" }, labels[i]));
      });
      const every = width < 500 ? 300000 : 120000;
      for (let t = Math.ceil((end - WINDOW_MS) / every) * every; t <= end; t += every) {
        if (x(t) < left + 18 || x(t) > width - 26) continue;
        parts.push(element("text", { x: x(t), y: height - 6, "text-anchor": "middle" }, clock(t).slice(0, 5)));
      }
      // A missing value breaks the line: nothing is drawn where nothing was read.
      const paths = { sealed: "", live: "" };
      let before = null;
      for (const sample of samples) {
        if (sample.v === null) { before = null; continue; }
        if (before && sample.t - before.t > picked.hole) before = null;
        const name = sample.sealed ? "sealed" : "live";
        const from = before ? `M${x(before.t).toFixed(1)} ${y(before.v).toFixed(1)}` : null;
        const to = `${x(sample.t).toFixed(1)} ${y(sample.v).toFixed(1)}`;
        paths[name] += from ? `${from}L${to}` : `M${to}l0 0.1`;
        before = sample;
      }
      for (const [name, d] of Object.entries(paths)) if (d) parts.push(element("path", { class: name, d }));
      const last = samples.filter((sample) => sample.v !== null).at(-1);
      parts.push(element("circle", { class: last.sealed ? "sealed" : "live", cx: x(last.t), cy: y(last.v), r: 4 }));
    }
    plot.replaceChildren(...parts);
  }

  // --- the stream ----------------------------------------------------------------------------
  const connection = byId("connection");
  function listen() {
    const source = new EventSource(`${base}/live`);
    source.addEventListener("open", () => { connection.textContent = texts.connection_live; connection.className = "faint"; });
    source.addEventListener("log", (message) => take(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(again, 5000); // refused: signed out, or the server is gone
      connection.textContent = texts.connection_lost;
      connection.className = "problem";
    });
  }

  async function again() {
    const session = await fetch("/v1/session").catch(() => null);
    if (session && session.status === 401) location.assign("/login"); else listen();
  }

  // --- today ---------------------------------------------------------------------------------
  let todayTimer = null;
  function refreshToday(wait) {
    if (!byId("today") || todayTimer) return;
    todayTimer = setTimeout(async () => {
      todayTimer = null;
      try {
        const answer = await fetch(`${base}/today`);
        const body = await answer.json();
        if (answer.ok) showToday(body); else byId("today-state").textContent = `${texts.today_failed} ${body.detail ?? ""}`;
      } catch { /* the stream says that the connection is lost */ }
    }, wait);
  }
  function showToday(today) {
    for (const name of ["re", "pe", "er"]) {
      byId(`today-${name}`).textContent = brief(today[name]);
      byId(`today-${name}`).title = `${today[name]} ${today.unit}`;
    }
    byId("today-day").textContent = `${today.day} · ${today.zone}`;
    const to = today.sealed_to ? clock(Date.parse(today.sealed_to), true) : "–";
    byId("today-state").textContent = `${texts.today_sealed_to}: ${to}`;
    const lacking = today.parameters.filter((p) => !p.known || p.missing_s > 0);
    const lines = lacking.map((p) => `${p.name} (${p.description}): ${p.known ? `${texts.today_missing_for} ${span(p.missing_s * 1000)}` : texts.today_never}`);
    fill(byId("today-missing"), lines.length ? lines : [texts.today_nothing_missing]);
    fill(byId("today-reasons").querySelector("ul"), today.reasons);
    const warnings = byId("today-warnings");
    warnings.hidden = today.warnings.length === 0;
    fill(warnings.querySelector("ul"), today.warnings);
  }

  // --- a new report --------------------------------------------------------------------------
  const form = byId("new-report");
  if (form) form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    const output = form.querySelector("output");
    const button = form.querySelector("button");
    button.disabled = true;
    const say = (text) => { output.textContent = text; };
    try {
      const body = JSON.stringify({ from: form.elements.from.value, to: form.elements.to.value });
      const answer = await fetch(`${base}/reports`, { method: "POST", headers: { "content-type": "application/json" }, body });
      let report = await answer.json();
      if (!answer.ok) { say(`${texts.report_failed} ${report.detail}`); return; }
      while (report.job && report.job.state === "running") {
        say(`${texts.report_running} ${report.job.entries_done} / ${report.job.entries_total || "…"}`);
        await new Promise((later) => setTimeout(later, 700));
        report = await (await fetch(`${base}/reports/${report.id}`)).json();
      }
      if (report.job && report.job.state === "failed") say(`${texts.report_failed} ${report.job.problem.detail}`);
      else location.reload();
    } catch (error) { say(`${texts.report_failed} ${error.message}`); } finally { button.disabled = false; }
  });

  const first = [...rows.values()].find((point) => point.kind === "instant") ?? rows.values().next().value;
  if (first) pick(first);
  listen();
  refreshToday(0);
  setInterval(() => { ages(); draw(); }, 1000);
  setInterval(() => refreshToday(0), 60000);
  addEventListener("resize", draw);
})();
