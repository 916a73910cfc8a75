(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts"), themes = read("themes");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const font = getComputedStyle(document.body).fontFamily;
  const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset" };

  // "@ink" is a colour of the theme, "@ink/0.5" half of it. Only the keys of colours are looked
  // at: a text of the data that begins with "@" stays what it is.
  const colour = (name, theme) => {
    const [role, opacity] = name.slice(1).split("/");
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(theme[role].slice(at, at + 2), 16));
    return `rgba(${red},${green},${blue},${opacity || 1})`;
  };
  const painted = (value, theme, isColour = false) => {
    if (typeof value === "string") return isColour && value[0] === "@" ? colour(value, theme) : value;
    if (Array.isArray(value)) return isColour ? value.map((one) => painted(one, theme, true)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) =>
      [key, key === "family" ? font : painted(one, theme, /color(scale)?$/.test(key))]));
  };
  // Where ticks have less room than they need, every second, third and so on stays.
  const thin = (axis, needed, width) => {
    if (!axis.tickvals || !needed) return;
    const every = Math.ceil(needed * axis.tickvals.length / width);
    axis.tickvals = axis.tickvals.filter((_, i) => i % every === 0);
    axis.ticktext = axis.ticktext.filter((_, i) => i % every === 0);
    axis.tickangle = 0;
  };
  // Arrays of traces hold data or, under a key of colours, colours: `painted` leaves data alone.
  const draw = () => {
    const theme = themes[dark.matches ? "dark" : "light"];
    for (const chart of charts) {
      const plot = document.getElementById("plot-" + chart.name);
      const hidden = new Set([...document.querySelectorAll(`[data-chart="${chart.name}"]`)]
        .filter((key) => key.getAttribute("aria-pressed") === "false").map((key) => Number(key.dataset.series)));
      const data = chart.data.map((trace, i) => ({ ...painted(trace, theme), visible: !hidden.has(i) }));
      const layout = painted(chart.layout, theme);
      // A finger scrolls the page; only a mouse selects a part to look at closely.
      if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
      thin(layout.xaxis, chart.tick_width, plot.clientWidth - chart.beside);
      Plotly.react(plot, data, layout, config);
    }
  };
  document.documentElement.classList.add("js");
  draw();
  dark.addEventListener("change", draw);
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });
  document.addEventListener("click", (event) => {
    const key = event.target.closest("[data-series]");
    if (!key) return;
    key.setAttribute("aria-pressed", String(key.getAttribute("aria-pressed") === "false"));
    draw();
  });
})();
