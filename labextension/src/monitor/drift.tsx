import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IDrift } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Bounded } from '../shared/bounded';
import { LongText } from '../shared/long';
import { magicLine } from '../shared/magicline';
import { Name, Toggle } from '../shared/plain';
import { NONE, number } from '../shared/quantities';
import { Ago, Row } from '../shared/row';
import { Scroll } from '../shared/scroll';
import { Standing } from '../shared/standing';
import { Empty } from '../shared/states';

/** What comparisons with baselines came to, newest first. */
export function Drift(
  props: ISectionProps & { reports: readonly IDrift[] }
): React.JSX.Element {
  const { trans, reports } = props;
  if (reports.length === 0) {
    return (
      <Empty
        text={trans.__(
          'Nothing was compared with a baseline in this time. Freeze one, and compare later traces with it:'
        )}
        advice="%monitor baseline support --prompt support --since 30d"
      />
    );
  }
  const ordered = [...reports].sort(
    (a, b) => Date.parse(b.at) - Date.parse(a.at)
  );
  return (
    <Bounded
      trans={trans}
      label={trans.__('Drift reports')}
      items={ordered}
      id={report => report.id}
      first={5}
      render={report => <Report {...props} report={report} />}
    />
  );
}

function Report(props: ISectionProps & { report: IDrift }): React.JSX.Element {
  const { host, trans, report } = props;
  const moved = report.features.filter(feature => feature.drifted);
  const [all, setAll] = React.useState(false);
  const others = report.features.length - moved.length;
  const shown = all ? report.features : moved;
  return (
    <Row
      head={
        <>
          <Name text={report.baseline} />{' '}
          <Standing
            state={report.drifted ? 'alert' : 'ok'}
            text={
              report.drifted ? trans.__('drift') : trans.__('no drift found')
            }
          />{' '}
          <Ago at={report.at} />
        </>
      }
      actions={
        <Action
          host={host}
          trans={trans}
          label={trans.__('Check again')}
          source={magicLine('%monitor drift', report.baseline)}
        />
      }
    >
      <LongText trans={trans} text={report.words} />
      {shown.length > 0 && <Features trans={trans} features={shown} />}
      {others > 0 && (
        <Toggle
          open={all}
          onToggle={() => setAll(!all)}
          label={
            all
              ? trans.__('Only what changed')
              : trans._n('%1 more test', '%1 more tests', others)
          }
        />
      )}
    </Row>
  );
}

function Features(props: {
  trans: TranslationBundle;
  features: IDrift['features'];
}): React.JSX.Element {
  const { trans, features } = props;
  return (
    <Scroll label={trans.__('Features')}>
      <table className="jp-LLMOps-table">
        <thead>
          <tr>
            <th scope="col">{trans.__('Feature')}</th>
            <th scope="col">{trans.__('p (all tests)')}</th>
            <th scope="col">{trans.__('Changed')}</th>
          </tr>
        </thead>
        <tbody>
          {features.slice(0, 100).map(({ name, p_value, drifted }, i) => (
            <tr key={i}>
              <th scope="row">
                <Name text={name} />
              </th>
              <td className="jp-LLMOps-number">{probability(p_value)}</td>
              <td>{drifted ? trans.__('yes') : ''}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** A p-value with two digits that count; those below what permutations can tell are small enough as they are. */
function probability(value: number | null): string {
  if (value === null || !Number.isFinite(value)) {
    return NONE;
  }
  const places = value > 0 ? 1 - Math.floor(Math.log10(value)) : 2;
  return number(value, value >= 0.0995 ? 3 : Math.min(12, places));
}
