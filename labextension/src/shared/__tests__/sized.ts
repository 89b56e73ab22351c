/** Heights that the document of the tests does not have: of the list, and of its rows. */
export function sized(view: number, height: number): () => void {
  const client = jest
    .spyOn(HTMLElement.prototype, 'clientHeight', 'get')
    .mockReturnValue(view);
  const rect = jest
    .spyOn(Element.prototype, 'getBoundingClientRect')
    .mockReturnValue({ height } as DOMRect);
  return () => {
    client.mockRestore();
    rect.mockRestore();
  };
}
