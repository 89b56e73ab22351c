import * as React from 'react';

import { IIndex } from '../api';
import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { useAsked } from '../shared/asked';
import { Bounded } from '../shared/bounded';
import { Fold, useOpened } from '../shared/fold';
import { Name } from '../shared/plain';
import { bytes, number } from '../shared/quantities';
import { Standing } from '../shared/standing';
import { Empty } from '../shared/states';
import { healthWords, Index, worstOf } from './detail';

/** Indexes of documents: their health, and a search. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, trans, item } = props;
  const asked = useAsked(watched, ['indexes'], client => client.indexes());
  const [isOpen, setOpen] = useOpened();
  const only =
    asked.body?.items.length === 1 ? asked.body.items[0].name : undefined;
  React.useEffect(() => {
    const first = item || only;
    if (first) {
      setOpen(first, true);
    }
  }, [item, only, setOpen]);
  return (
    <div className="jp-LLMOps-indexes">
      <Answer trans={trans} asked={asked}>
        {page =>
          page.items.length === 0 ? (
            <Empty
              text={trans.__(
                'There is no index of documents yet. Make one from files or folders:'
              )}
              advice="%rag add docs docs/"
            />
          ) : (
            <Bounded
              trans={trans}
              label={trans.__('Indexes')}
              items={page.items}
              id={index => index.name}
              render={index => (
                <Fold
                  title={<Name text={index.name} />}
                  beside={<Beside {...props} index={index} />}
                  open={isOpen(index.name)}
                  onOpen={open => setOpen(index.name, open)}
                >
                  <Index {...props} index={index} />
                </Fold>
              )}
            />
          )
        }
      </Answer>
    </div>
  );
}

function Beside(props: ISectionProps & { index: IIndex }): React.JSX.Element {
  const { trans, index } = props;
  const worst = worstOf(index);
  const about = [
    trans._n(
      '%2 document',
      '%2 documents',
      index.documents,
      number(index.documents)
    ),
    bytes(index.size)
  ];
  return (
    <>
      {worst && <Standing state={worst} text={healthWords(trans, worst)} />}{' '}
      <span className="jp-LLMOps-quiet">{about.join(' · ')}</span>
    </>
  );
}
