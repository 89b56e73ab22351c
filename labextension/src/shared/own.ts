/** The value of a name in an object that came from the server; nothing of what all objects have, such as "constructor". */
export function own<T>(
  record: Readonly<Record<string, T>>,
  name: string
): T | undefined {
  return Object.prototype.hasOwnProperty.call(record, name)
    ? record[name]
    : undefined;
}
