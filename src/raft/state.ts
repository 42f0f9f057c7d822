/** The roles of Raft §5.1, with the pre-candidate of dissertation §9.6. */
export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';
