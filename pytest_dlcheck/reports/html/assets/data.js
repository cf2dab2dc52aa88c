// What the page carries, unpacked only when it is needed.
const read = (id) => JSON.parse($(id).textContent);
const index = read("index");
let packedCards = null;
const cardsRead = new Map();

async function inflate(base64) {
  const packed = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

function cardOf(i) {
  if (!cardsRead.has(i)) {
    packedCards = packedCards || read("cards");
    cardsRead.set(i, inflate(packedCards[i]).then(JSON.parse));
  }
  return cardsRead.get(i);
}

let plotlyLoading = null;

function plotly() {
  plotlyLoading = plotlyLoading || inflate($("plotly").textContent).then((code) => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
    if (!window.Plotly) throw new Error("plotly.js was not run");
    return window.Plotly;
  });
  return plotlyLoading;
}
