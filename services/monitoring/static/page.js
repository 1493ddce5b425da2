// Draws the status page. Everything shown is set with textContent: nothing from the bus is ever parsed as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const MODES = { sim: "SIMULATED", paper: "PAPER", live: "LIVE" };
let token = "";
let state = null;
let lastEvent = 0;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

// columns: [title, value(row) or key, kind "number" | "text" | "", class(row)]; "extra" in the kind: not on a phone
function table(id, columns, rows, empty) {
  const box = byId(id);
  if (!rows || rows.length === 0) {
    box.replaceChildren(element("div", empty, "empty"));
    return;
  }
  const head = element("tr");
  for (const [title, , kind] of columns) head.append(element("th", title, kind || ""));
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [, value, kind, style] of columns) {
      const shown = typeof value === "function" ? value(row) : row[value];
      const cell = element("td", shown ?? "", [kind || "", style ? style(row) : ""].join(" ").trim());
      if (typeof value === "string" && /@/.test(row[value])) cell.textContent = short(row[value]);
      if (row.contract) cell.title = row.contract;
      if (/action/.test(kind || "")) cell.replaceChildren(...actionOf(shown, row));
      line.append(cell);
    }
    body.append(line);
  }
  const made = element("table");
  const top = element("thead");
  top.append(head);
  made.append(top, body);
  const scrolled = box.scrollTop;
  box.replaceChildren(made);
  box.scrollTop = scrolled;
}

// a row is drawn anew each second: the press counts, a click might meet another button than it began on
function actionOf(action, row) {
  if (!state.has_controls || !action) return [];
  const button = element("button", action === "unpause" ? "resume" : action);
  button.type = "button";
  button.addEventListener("pointerdown", () => setTimeout(() => control(action, row.strategy)));
  button.addEventListener("keydown", (event) => { if (event.key === "Enter") control(action, row.strategy); });
  return [button];
}

function money(text, digits = 2) {
  if (text === null || text === undefined || text === "") return "";
  const number = Number(text);
  if (!Number.isFinite(number)) return String(text);
  return number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// a price keeps its digits, and has two at least
function price(text) {
  return /^-?\d+(\.\d)?$/.test(text ?? "") ? money(text) : text ?? "";
}

function volume(text) {
  const most = Number(text) >= 1e7 ? { notation: "compact", maximumFractionDigits: 1 } : { maximumFractionDigits: 0 };
  return text === "" ? "" : Number(text).toLocaleString("en-US", most);
}

// a contract without its exchange, where no other one that is shown has the same name
function short(name) {
  const stem = (text) => String(text ?? "").replace(/@\w+/g, "");
  const alike = new Set(state.prices.map((row) => row.contract).filter((other) => stem(other) === stem(name)));
  return alike.size > 1 ? name : stem(name);
}

function protection(row) {
  const covered = Number(row.protected);
  if (covered >= Math.abs(Number(row.position))) return "all";
  return covered ? `${row.protected} only` : "none";
}

const signed = (key) => (row) => (Number(row[key]) < 0 ? "bad" : Number(row[key]) > 0 ? "good" : "");
const sideClass = (row) => (row.side === "BUY" ? "good" : "bad");

function fact(label, value, className) {
  const box = element("div", null, "fact");
  box.append(element("span", label), element("b", value ?? "–", className));
  return box;
}

function drawHeader() {
  const mode = byId("mode");
  mode.textContent = MODES[state.mode] || String(state.mode).toUpperCase();
  mode.className = `mode ${state.mode}`;
  document.title = `${mode.textContent} · Copilot Quant`;
  const leader = state.leader || {};
  const farms = leader.broken_farms || [];
  const linkClass = leader.link !== "READY" ? "bad" : farms.length ? "warn" : "good";
  const stage = (state.halt || {}).stage;
  const trading = stage === "none" ? "on" : stage ? `HALTED (${stage})` : "–";
  const link = leader.link === "READY" || !leader.reason ? leader.link : `${leader.link}: ${leader.reason}`;
  byId("facts").replaceChildren(
    fact("account", state.account || "–"),
    fact("leader", leader.instance || "none", leader.instance ? "" : "bad"),
    fact("epoch", leader.epoch || "–"),
    fact("broker", [link || "–", ...farms.map((farm) => `farm ${farm} is broken`)].join("; "), linkClass),
    fact("trading", trading, stage === "none" ? "good" : "bad"),
    fact("P&L today", state.pnl.daily === null ? "–" : money(state.pnl.daily), signed("daily")(state.pnl)),
    fact("ticks/s", state.tick_rate === null ? "–" : money(state.tick_rate, 0)),
    fact("bars", money(state.bars_total, 0)),
    fact("working / unknown", `${state.orders_working} / ${state.orders_unknown}`, state.orders_unknown ? "bad" : ""),
    fact("fills", money(state.fills_total, 0)),
    fact("dead letters", state.dead_letters, state.dead_letters ? "bad" : ""),
  );
  byId("actions").hidden = !state.has_controls;
}

function drawAlerts() {
  const box = byId("alerts");
  if (!state.alerts.length) {
    box.replaceChildren(element("div", "Nothing needs you.", "empty"));
    return;
  }
  const order = { error: 0, warning: 1, info: 2 };
  const sorted = [...state.alerts].sort((a, b) => order[a.severity] - order[b.severity]);
  box.replaceChildren(
    ...sorted.map((one) => element("div", `${one.since}  ${one.text}`, `alert ${one.severity}`)),
  );
}

function drawAccount() {
  const words = {
    NetLiquidation: "net liquidation", TotalCashValue: "cash", AvailableFunds: "available funds",
    BuyingPower: "buying power", GrossPositionValue: "gross position value",
  };
  const rows = Object.entries(state.account_values).map(([tag, value]) => ({ name: words[tag] || tag, value }));
  for (const [key, name] of [["daily", "P&L today"], ["unrealized", "unrealised P&L"], ["realized", "realised P&L"]]) {
    if (state.pnl[key] !== null) rows.push({ name, value: state.pnl[key], tone: true });
  }
  if (Number(state.pnl.commissions)) rows.push({ name: `commissions (last ${state.pnl.commissions_of} fills)`, value: state.pnl.commissions });
  const tone = (row) => (row.tone ? signed("value")(row) : "");
  table("account", [["", "name"], [state.pnl.currency || "value", (row) => money(row.value), "number", tone]],
    rows, "The broker has not reported yet.");
}

function drawTables() {
  table("prices", [
    ["contract", "contract", "text"], ["bid", (r) => price(r.bid), "number"], ["ask", (r) => price(r.ask), "number"],
    ["last", (r) => price(r.last), "number"],
    ["volume", (row) => volume(row.volume), "number extra"],
    ["data", (row) => row.quality.toLowerCase(), "", (row) => (row.quality === "LIVE" ? "good" : "warn")],
  ], state.prices, "No prices yet.");
  table("positions", [
    ["contract", "contract"], ["position", "position", "number"], ["avg cost", (r) => money(r.average_cost), "number"],
    ["unrealised", (r) => money(r.unrealized_pnl), "number", signed("unrealized_pnl")],
    ["stop", protection, "", (r) => ({ all: "good", none: "dim" })[protection(r)] || "warn"],
  ], state.positions, "Flat.");
  table("intents", [
    ["time", "time", "dim"], ["strategy", "strategy", "extra"], ["order", "order", "text order"],
    ["risk says", (r) => (r.decision === "rejected" ? [r.code || "rejected", r.text].filter(Boolean).join(": ")
      : r.decision || "…"), "text", (r) => ({ approved: "good", rejected: "bad" })[r.decision] || "dim"],
  ], state.intents, "No intents yet.");
  table("orders", [
    ["time", "time", "dim"], ["strategy", "strategy", "extra"], ["contract", "contract"],
    ["side", "side", "", sideClass], ["qty", "quantity", "number"], ["type", "type"],
    ["price", (r) => price(r.price), "number"], ["filled", "filled", "number extra"],
    ["state", (r) => (r.code ? `${r.state} ${r.code}` : r.state), "text",
      (r) => ({ filled: "good", rejected: "bad", unknown: "bad", refused: "warn" })[r.state] || ""],
  ], state.orders, "No orders yet.");
  table("fills", [
    ["time", "time", "dim"], ["strategy", "strategy", "extra"], ["side", "side", "", sideClass],
    ["qty", "quantity", "number"],
    ["contract", "contract"], ["price", (r) => price(r.price), "number"],
    ["", (r) => [r.late ? "late" : "", r.corrected ? "corrected" : ""].join(" ").trim(), "", () => "warn"],
  ], state.fills, "No fills yet.");
  table("strategies", [
    ["unit", "unit", "text"], ["worker", (r) => r.owner || "", "extra"],
    ["state", (r) => r.state || "", "", (r) => (r.state === "running" ? "good" : "warn")],
    ["contracts", (r) => (r.names && r.names.length ? r.names : (r.contracts || []).map(nameOf)).map(short).join(", "),
      "text extra"],
    ["working", (r) => r.working ?? "", "number"], ["lag", (r) => (r.lag === undefined ? "" : `${r.lag} s`), "number"],
    ["trouble", (r) => r.error || r.paused || "", "text", () => "bad"],
    ["", (r) => (r.strategy ? (r.paused ? "unpause" : "pause") : ""), "action"],
  ], state.strategies, "No strategy runs.");
  table("processes", [
    ["service", "service", "extra"], ["instance", "instance"], ["role", (r) => r.role || (r.is_leader ? "leader" : "")],
    ["pid", "pid", "number extra"], ["up", (r) => duration(state.now_ns - r.started_ns), "number"],
    ["state", processState, "text", (r) => (r.ready ? "good" : "bad")],
  ], state.processes, "No process is alive.");
  table("lags", [
    ["stream", "stream"], ["reader", "reader"],
    ["behind", "lag", "number", (r) => (Number(r.lag) > 100 ? "warn" : "")],
  ], state.lags, "Nobody reads yet.");
}

function processState(row) {
  if (!row.ready) return Object.values(row.failed || {}).join("; ") || "not ready";
  if (row.role === "standby" && row.data_link) return `${row.link || "STANDBY"}, data session ${row.data_link}`;
  return "ready";
}

function nameOf(conId) {
  const found = state.prices.find((row) => row.con_id === conId);
  return found ? found.contract : `#${conId}`;
}

function duration(ns) {
  const s = Math.max(0, Math.round(ns / 1e9));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h`;
}

function draw() {
  drawHeader();
  drawAlerts();
  drawAccount();
  drawTables();
  drawContracts();
  byId("updated").textContent = `${state.deployment} · ${state.time} UTC`;
  banner(state.trouble ? `What you see may be old: ${state.trouble}` : "");
}

function banner(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
}

// ------------------------------------------------------------------------------------------------------ chart

let chart = null;
let series = null;
let markers = null;
let shownContract = 0;
const MARKS_WITH_TEXT = 12; // more quantities than this lie on top of each other

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function openChart() {
  if (!window.LightweightCharts) {
    byId("chart-note").textContent = "the chart library did not load";
    return;
  }
  const lib = window.LightweightCharts;
  chart = lib.createChart(byId("chart"), {
    autoSize: true,
    layout: {
      background: { color: colour("--card") }, textColor: colour("--dim"), attributionLogo: false, fontSize: 12,
    },
    grid: { vertLines: { color: colour("--line") }, horzLines: { color: colour("--line") } },
    timeScale: { timeVisible: true, secondsVisible: true, borderColor: colour("--line"), maxBarSpacing: 14 },
    rightPriceScale: { borderColor: colour("--line") },
  });
  series = chart.addSeries(lib.CandlestickSeries, {
    upColor: colour("--good"), downColor: colour("--bad"), wickUpColor: colour("--good"),
    wickDownColor: colour("--bad"), borderVisible: false,
  });
  markers = lib.createSeriesMarkers(series, []);
}

function drawContracts() {
  const select = byId("contract");
  const known = state.prices.map((row) => String(row.con_id));
  const shown = [...select.options].map((option) => option.value);
  if (known.join() === shown.join()) return;
  const chosen = select.value || preferred();
  select.replaceChildren(...state.prices.map((row) => {
    const option = element("option", short(row.contract));
    option.value = String(row.con_id);
    return option;
  }));
  if (known.includes(chosen)) select.value = chosen;
  drawChart();
}

// what was traded last is what people want to see first
function preferred() {
  return state.fills.length ? String(state.fills[0].con_id) : "";
}

async function drawChart() {
  const conId = byId("contract").value;
  if (!chart || !conId) return;
  const reply = await fetch(`/api/chart?con_id=${encodeURIComponent(conId)}`);
  if (!reply.ok) return;
  const content = await reply.json();
  if (byId("contract").value !== conId) return;
  const digits = content.bars.length && content.bars[0].close < 10 ? 5 : 2;
  series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
  series.setData(content.bars);
  const first = content.bars.length ? content.bars[0].time : Infinity;
  const width = 5;
  const groups = new Map();
  for (const fill of content.fills) {
    if (fill.time < first) continue;
    const time = fill.time - (fill.time % width);
    const key = `${time} ${fill.side}`;
    const group = groups.get(key) || { time, side: fill.side, quantity: 0 };
    group.quantity += Number(fill.quantity);
    groups.set(key, group);
  }
  const marks = [...groups.values()].sort((a, b) => a.time - b.time).map((group) => ({
    time: group.time,
    position: group.side === "BUY" ? "belowBar" : "aboveBar",
    shape: group.side === "BUY" ? "arrowUp" : "arrowDown",
    color: group.side === "BUY" ? colour("--good") : colour("--bad"),
    text: groups.size > MARKS_WITH_TEXT ? "" : `${group.side === "BUY" ? "+" : "−"}${group.quantity}`,
  }));
  markers.setMarkers(marks);
  byId("chart-note").textContent = content.bars.length
    ? `${content.interval} bars, UTC; ${groups.size} fills as arrows` : "no bars yet";
  if (content.bars.length < 80) chart.timeScale().fitContent();
  else if (shownContract !== conId) chart.timeScale().scrollToRealTime();
  shownContract = conId;
}

// --------------------------------------------------------------------------------------------------- controls

async function control(action, strategy) {
  const reason = window.prompt(`Reason to ${action}${strategy ? ` ${strategy}` : ""}:`, "");
  if (reason === null) return;
  const confirm = action === "resume" ? window.prompt(`Type ${state.resume_word} to trade again:`, "") : "";
  if (confirm === null) return;
  token = byId("token").value || token;
  const answer = byId("answer");
  try {
    const reply = await fetch(`/api/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ reason, confirm, ...(strategy ? { strategy } : {}) }),
    });
    const content = await reply.json();
    answer.textContent = reply.ok ? `${action} asked for` : content.error;
    answer.className = reply.ok ? "good" : "bad";
  } catch {
    answer.textContent = "monitoring did not answer: use cq halt";
    answer.className = "bad";
  }
}

// ------------------------------------------------------------------------------------------------------- live

function listen() {
  const source = new EventSource("/api/live");
  source.onmessage = (event) => {
    lastEvent = Date.now();
    state = JSON.parse(event.data);
    draw();
  };
  source.onerror = () => banner("Monitoring does not answer; trying again. What you see is old.");
}

byId("halt").addEventListener("click", () => control("halt"));
byId("resume").addEventListener("click", () => control("resume"));
byId("handover").addEventListener("click", () => control("handover"));
byId("contract").addEventListener("change", drawChart);
openChart();
listen();
setInterval(drawChart, 2000);
setInterval(() => {
  if (lastEvent && Date.now() - lastEvent > 15000) banner("No news for 15 s: what you see is old.");
}, 5000);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (!chart) return;
  chart.remove();
  openChart();
  drawChart();
});
