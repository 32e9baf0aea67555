/** Single parameters of a query; one without text is absent. */

export const textOf = (query: URLSearchParams, name: string): string | undefined => {
  const value = query.get(name);
  return value === null || value === '' ? undefined : value;
};

/** The number that the text is, or else the text, for a codec to refuse. */
export const numberOf = (query: URLSearchParams, name: string): number | string | undefined => {
  const value = textOf(query, name);
  return value === undefined || !/^\d+(\.\d+)?$/.test(value) ? value : Number(value);
};
