/** Markdown tables, and numbers in them. What there is none of is a dash. */
export const table = (titles: readonly string[], rows: readonly (readonly string[])[]): string =>
  [titles, titles.map((_, i) => (i === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');

export const digits = (value: number | undefined, count: number): string =>
  value === undefined ? '–' : value.toFixed(count);

export const percent = (share: number | undefined): string =>
  share === undefined ? '–' : `${Math.round(share * 100)} %`;

export const whole = (value: number): string => Math.round(value).toLocaleString('en');

export const latencies = ({ p50Ms, p95Ms, p99Ms }: LatencyFigures): string =>
  [p50Ms, p95Ms, p99Ms].map((ms) => digits(ms, 2)).join(' / ');

interface LatencyFigures {
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

/** Three digits say enough, whatever the unit. */
export const short = (value: number): string =>
  Math.abs(value) >= 100 ? whole(value) : String(Number(value.toPrecision(3)));
