/**
 * Line charts as SVG, as much of them as the documentation needs: both axes logarithmic, since sizes and latencies are
 * spread over several powers of ten, a legend, and every point marked, because only the points were measured.
 */
export interface Chart {
  readonly title: string;
  /** What was measured, and where. */
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

interface Axis {
  readonly ticks: readonly number[];
  /** From a value to a coordinate. */
  readonly at: (value: number) => number;
}

const WIDTH = 760;
const HEIGHT = 440;
const PLOT = { left: 72, right: 600, top: 64, bottom: 384 } as const;
const LEGEND_X = PLOT.right + 20;
const LINE_HEIGHT = 20;
/** Told apart by the colour-blind as well (Okabe and Ito). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'] as const;

/** Points that a logarithm has no place for, such as a latency of which there were no samples, are left out. */
export const toSvg = (chart: Chart): string => {
  const series = chart.series.map(({ name, points }) => ({
    name,
    points: points.filter(({ x, y }) => x > 0 && y > 0),
  }));
  const points = series.flatMap((one) => one.points);
  if (points.length === 0) throw new Error(`${chart.title}: there is nothing to be drawn`);
  const x = axisOf(
    points.map((point) => point.x),
    PLOT.left,
    PLOT.right,
  );
  const y = axisOf(
    points.map((point) => point.y),
    PLOT.bottom,
    PLOT.top,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" ` +
      `font-family="system-ui, sans-serif" font-size="12" fill="#222">`,
    `<title>${escaped(chart.title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(PLOT.left, 26, chart.title, 'font-size="16" font-weight="600"'),
    text(PLOT.left, 46, chart.subtitle, 'fill="#666" font-size="11"'),
    ...gridOf(x, y),
    text((PLOT.left + PLOT.right) / 2, HEIGHT - 16, chart.xLabel, 'text-anchor="middle"'),
    text(
      0,
      0,
      chart.yLabel,
      `text-anchor="middle" transform="translate(18 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)"`,
    ),
    ...series.flatMap((one, i) => lineOf(one, i, x, y)),
    '</svg>',
    '',
  ].join('\n');
};

/** Ticks at 1, 2 and 5 of each power of ten, and at least from one of them to the next. */
const axisOf = (values: readonly number[], from: number, to: number): Axis => {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power++) {
    for (const digit of [1, 2, 5]) all.push(digit * 10 ** power);
  }
  const first = all.findLastIndex((tick) => tick <= least);
  const last = all.findIndex((tick) => tick >= most && tick > all[first]!);
  const ticks = all.slice(first, last + 1);
  const [low, high] = [Math.log10(ticks[0]!), Math.log10(ticks.at(-1)!)];
  return { ticks, at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from) };
};

const gridOf = (x: Axis, y: Axis): readonly string[] => [
  ...x.ticks.flatMap((tick) => {
    const at = coordinate(x.at(tick));
    return [
      `<path d="M${at} ${PLOT.top}V${PLOT.bottom}" stroke="#e4e4e4"/>`,
      text(at, PLOT.bottom + 18, label(tick), 'text-anchor="middle"'),
    ];
  }),
  ...y.ticks.flatMap((tick) => {
    const at = coordinate(y.at(tick));
    return [
      `<path d="M${PLOT.left} ${at}H${PLOT.right}" stroke="#e4e4e4"/>`,
      text(PLOT.left - 8, at + 4, label(tick), 'text-anchor="end"'),
    ];
  }),
];

const lineOf = ({ name, points }: Series, index: number, x: Axis, y: Axis): readonly string[] => {
  const colour = COLOURS[index % COLOURS.length]!;
  const places = points.map((point) => [coordinate(x.at(point.x)), coordinate(y.at(point.y))] as const);
  const legendY = PLOT.top + 12 + index * LINE_HEIGHT;
  return [
    `<polyline points="${places.map((place) => place.join(',')).join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...places.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`),
    `<path d="M${LEGEND_X} ${legendY - 4}h18" stroke="${colour}" stroke-width="2"/>`,
    text(LEGEND_X + 24, legendY, name, ''),
  ];
};

const text = (x: number, y: number, content: string, attributes: string): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`;

/** Tenths of a pixel are not seen, and longer numbers make every run a different file. */
const coordinate = (value: number): number => Math.round(value * 10) / 10;

const THOUSAND = 1000;

const label = (value: number): string =>
  value >= THOUSAND ** 2
    ? `${value / THOUSAND ** 2} M`
    : value >= THOUSAND
      ? `${value / THOUSAND} k`
      : String(Number(value.toPrecision(2)));

const escaped = (content: string): string =>
  content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
