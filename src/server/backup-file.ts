/** Backup files, and how to write one, for programs that have no node. */
export {BackupChecker} from '../storage/backup-checker.ts';
export type {BackupHead} from '../storage/backup-format.ts';
export {readBackup} from '../storage/backup-reader.ts';
export type {BackupSummary} from '../storage/backup-reader.ts';
export {openDirectFileWriter} from '../storage/direct-file-writer.ts';
export {revisionBumpDefault, revisionBumpMax} from '../storage/revision-bump.ts';
