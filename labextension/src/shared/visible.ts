/** What a reader would not see in a text: controls (so escape sequences too), marks that turn the direction of writing. */
const UNSEEN =
  /[\p{Cc}\p{Bidi_Control}\u200b\u2060-\u2064\ufeff\u{e0000}-\u{e007f}]/gu;

/**
 * A text of the store as it stands, with a mark in the place of each character that would not be seen.
 *
 * So two prompts that differ look different, and no text turns its surroundings about.
 */
export function visible(text: string): string {
  return text.replace(UNSEEN, character => {
    if (character === '\n' || character === '\t') {
      return character;
    }
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase();
    return `⟨U+${code.padStart(4, '0')}⟩`;
  });
}

/** The beginning of a text: at most so many characters, no half of one, with an ellipsis where more follows. */
export function beginning(text: string, characters: number): string {
  if (text.length <= characters) {
    return text;
  }
  const kept = text.slice(0, characters - 1);
  return `${kept.replace(/[\ud800-\udbff]$/, '').trimEnd()}…`;
}
