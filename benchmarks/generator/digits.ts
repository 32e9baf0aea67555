/** Decimal numbers of fixed width, written into and read out of bytes in place. */
const ZERO = 0x30;

export const writeDigits = (bytes: Buffer, start: number, digits: number, value: number): void => {
  let rest = value;
  for (let at = start + digits - 1; at >= start; at--) {
    bytes[at] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
};

export const readDigits = (bytes: Buffer, start: number, digits: number): number => {
  let value = 0;
  for (let at = start; at < start + digits; at++) value = value * 10 + bytes[at]! - ZERO;
  return value;
};
