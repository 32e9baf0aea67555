/** YAML text to plain values. What the parser says about bad text quotes the text, so only its kind and place are told. */
import { either as E } from 'fp-ts';
import { LineCounter, parseDocument } from 'yaml';

/** Parses one YAML document; the left side says what is wrong and where, without quoting the text. */
export const parseYaml = (text: string): E.Either<readonly string[], unknown> => {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false, stringKeys: true });
  // A warning is a tag that the parser does not know: whatever it was meant to do, it has not been done.
  const wrong = [...document.errors, ...document.warnings];
  if (wrong.length > 0) {
    return E.left(
      wrong.map(({ code, pos }) => {
        const { line, col } = lineCounter.linePos(pos[0]);
        return `is not valid YAML at line ${line}, column ${col} (${code.toLowerCase().replaceAll('_', ' ')})`;
      }),
    );
  }
  return E.tryCatch(
    () => document.toJS() as unknown,
    () => ['is not valid YAML: an alias has no anchor, or aliases expand to too much'],
  );
};
