import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IAsked } from './asked';
import { Failure, Loading } from './states';

/** What was asked for, once it is there; what was answered before stays beside a fault. */
export function Answer<T>(props: {
  trans: TranslationBundle;
  asked: IAsked<T>;
  children: (body: T) => React.ReactNode;
}): React.JSX.Element {
  const { trans, asked, children } = props;
  return (
    <>
      {asked.fault !== null && (
        <Failure trans={trans} fault={asked.fault} again={asked.again} />
      )}
      {asked.body !== null
        ? children(asked.body)
        : asked.fault === null && <Loading trans={trans} />}
    </>
  );
}
