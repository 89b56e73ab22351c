import { ISettingRegistry } from '@jupyterlab/settingregistry';

/** The plugin whose schema holds our settings. */
const PLUGIN = 'llmops-jupyter:panel';

/** Tell whether a setting is on: once it is known, and whenever it changes. Without a registry it is on. */
export function follow(
  registry: ISettingRegistry | null,
  name: 'statusBar' | 'badges',
  heard: (on: boolean) => void
): void {
  if (!registry) {
    heard(true);
    return;
  }
  registry.load(PLUGIN).then(
    settings => {
      const tell = () => heard(settings.get(name).composite !== false);
      settings.changed.connect(tell);
      tell();
    },
    () => heard(true)
  );
}
