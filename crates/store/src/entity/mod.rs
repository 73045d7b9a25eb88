//! Tables as the query builder knows them. Plain columns; the records are made by hand so that no
//! library type leaks out of this crate.
