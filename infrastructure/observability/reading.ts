/** The metrics of one process as data, so that those of several can be added up. */
import type { MetricObjectWithValues, MetricValue, Registry } from 'prom-client';

/** Every metric at one moment, as prom-client has it. */
export type Reading = readonly MetricObjectWithValues<MetricValue<string>>[];

export const readingOf = (registry: Registry): Promise<Reading> => registry.getMetricsAsJSON();
