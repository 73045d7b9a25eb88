//! Lists of images: what a project may see, filters, sorting, pages.

use reprieve_core::{ImageId, ProjectId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Value,
};

use super::entity::{image, member, property, tag};
use super::times::TimeCondition;
use super::{ImageRecord, MemberStatus, Visibility, complete};
use crate::{SortDirection, Store, StoreError};

/// Whose view it is.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Project.
    pub project: ProjectId,
    /// Administrators see everything.
    pub is_admin: bool,
}

/// Which visibilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VisibilityFilter {
    /// What one usually wants: everything that may be seen, without others' community images.
    #[default]
    Usual,
    /// Everything that may be seen.
    All,
    /// One of them.
    Only(Visibility),
}

/// Which images shared by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberFilter {
    /// Whatever the project thinks of them.
    All,
    /// Those with this status.
    Only(MemberStatus),
}

/// What an image must have; what is empty or `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    /// One of these ids.
    pub ids: Option<Vec<ImageId>>,
    /// One of these names.
    pub names: Option<Vec<String>>,
    /// One of these states.
    pub statuses: Option<Vec<String>>,
    /// One of these disk formats.
    pub disk_formats: Option<Vec<String>>,
    /// One of these container formats.
    pub container_formats: Option<Vec<String>>,
    /// Owner.
    pub owner: Option<ProjectId>,
    /// Protected or not.
    pub protected: Option<bool>,
    /// At least this size in bytes.
    pub size_min: Option<u64>,
    /// At most this size in bytes.
    pub size_max: Option<u64>,
    /// Exactly this least memory of a guest, in MiB.
    pub min_ram: Option<u64>,
    /// Exactly this least disk of a guest, in GiB.
    pub min_disk: Option<u64>,
    /// Changed then or later.
    pub updated_since: Option<Timestamp>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// All of these properties with these values.
    pub properties: Vec<(String, String)>,
    /// All of these conditions on times.
    pub times: Vec<TimeCondition>,
    /// Hidden images instead of the others.
    pub hidden: bool,
}

/// What to sort by. Missing values come first when ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSortKey {
    /// Name.
    Name,
    /// Status.
    Status,
    /// Container format.
    ContainerFormat,
    /// Disk format.
    DiskFormat,
    /// Size of the data.
    Size,
    /// Id.
    Id,
    /// Creation.
    CreatedAt,
    /// Last change.
    UpdatedAt,
}

/// One page of images.
#[derive(Debug, Clone)]
pub struct ImageQuery {
    /// Whose view.
    pub viewer: Viewer,
    /// Which visibilities.
    pub visibility: VisibilityFilter,
    /// Which images shared by others.
    pub members: MemberFilter,
    /// What they must have.
    pub filter: ImageFilter,
    /// Order; the id decides what is left.
    pub sort: Vec<(ImageSortKey, SortDirection)>,
    /// Begin behind this image.
    pub marker: Option<ImageId>,
    /// Most images.
    pub limit: u64,
}

impl Store {
    /// Images, as asked for.
    ///
    /// # Errors
    /// [`StoreError::BadQuery`] when the marker does not exist.
    pub async fn images(&self, query: &ImageQuery) -> Result<Vec<ImageRecord>, StoreError> {
        let db = self.reader();
        let mut sort = query.sort.clone();
        let last = sort.last().map_or(SortDirection::Descending, |(_, direction)| *direction);
        sort.push((ImageSortKey::Id, last));
        let mut select = image::Entity::find()
            .filter(visible(query))
            .filter(filtered(&query.filter))
            .limit(query.limit);
        if let Some(marker) = query.marker {
            let row = image::Entity::find_by_id(marker.to_string()).one(db).await;
            let row = row.map_err(StoreError::db("read the marker"))?;
            let row = row.ok_or_else(|| {
                StoreError::BadQuery(format!("Marker {marker} could not be found."))
            })?;
            select = select.filter(behind(&sort, &row));
        }
        for (key, direction) in &sort {
            select = select.order_by(key.expression(), order(*direction));
        }
        let rows = select.all(db).await.map_err(StoreError::db("list images"))?;
        complete(db, rows).await
    }
}

fn visible(query: &ImageQuery) -> Condition {
    let Viewer { project, is_admin } = &query.viewer;
    let mut condition = Condition::all();
    if let VisibilityFilter::Only(visibility) = query.visibility {
        condition = condition.add(image::Column::Visibility.eq(visibility.as_str()));
    }
    if *is_admin {
        return condition;
    }
    let mut reasons = Condition::any()
        .add(image::Column::Owner.eq(project.as_str()))
        .add(image::Column::Visibility.eq(Visibility::Public.as_str()))
        .add(
            Condition::all()
                .add(image::Column::Visibility.eq(Visibility::Shared.as_str()))
                .add(image::Column::Id.in_subquery(shared_with(project, query.members))),
        );
    let with_community = match query.visibility {
        VisibilityFilter::All | VisibilityFilter::Only(Visibility::Community) => true,
        VisibilityFilter::Usual
        | VisibilityFilter::Only(Visibility::Public | Visibility::Private | Visibility::Shared) => {
            false
        }
    };
    if with_community {
        reasons = reasons.add(image::Column::Visibility.eq(Visibility::Community.as_str()));
    }
    condition.add(reasons)
}

fn shared_with(project: &ProjectId, filter: MemberFilter) -> SelectStatement {
    let mut select = Query::select();
    select
        .column(member::Column::ImageId)
        .from(member::Entity)
        .and_where(member::Column::MemberId.eq(project.as_str()));
    if let MemberFilter::Only(status) = filter {
        select.and_where(member::Column::Status.eq(status.as_str()));
    }
    select
}

fn filtered(filter: &ImageFilter) -> Condition {
    let mut all = Condition::all().add(image::Column::Hidden.eq(filter.hidden));
    if let Some(ids) = &filter.ids {
        all = all.add(image::Column::Id.is_in(ids.iter().map(ToString::to_string)));
    }
    let lists = [
        (image::Column::Name, &filter.names),
        (image::Column::Status, &filter.statuses),
        (image::Column::DiskFormat, &filter.disk_formats),
        (image::Column::ContainerFormat, &filter.container_formats),
    ];
    for (column, wanted) in lists {
        if let Some(wanted) = wanted {
            all = all.add(column.is_in(wanted.iter().map(String::as_str)));
        }
    }
    if let Some(owner) = &filter.owner {
        all = all.add(image::Column::Owner.eq(owner.as_str()));
    }
    if let Some(protected) = filter.protected {
        all = all.add(image::Column::Protected.eq(protected));
    }
    if let Some(least) = filter.size_min {
        all = all.add(image::Column::Size.gte(super::signed(least)));
    }
    if let Some(most) = filter.size_max {
        all = all.add(image::Column::Size.lte(super::signed(most)));
    }
    if let Some(memory) = filter.min_ram {
        all = all.add(image::Column::MinRam.eq(super::signed(memory)));
    }
    if let Some(disk) = filter.min_disk {
        all = all.add(image::Column::MinDisk.eq(super::signed(disk)));
    }
    if let Some(since) = filter.updated_since {
        all = all.add(image::Column::UpdatedAt.gte(since.micros()));
    }
    for text in &filter.tags {
        let mut tagged = Query::select();
        tagged
            .column(tag::Column::ImageId)
            .from(tag::Entity)
            .and_where(tag::Column::Tag.eq(text.as_str()));
        all = all.add(image::Column::Id.in_subquery(tagged));
    }
    for (name, value) in &filter.properties {
        let mut having = Query::select();
        having
            .column(property::Column::ImageId)
            .from(property::Entity)
            .and_where(property::Column::Name.eq(name.as_str()))
            .and_where(property::Column::Value.eq(value.as_str()));
        all = all.add(image::Column::Id.in_subquery(having));
    }
    filter.times.iter().fold(all, |all, condition| all.add(condition.condition()))
}

/// Everything that sorts behind `row`: equal in the first keys, behind in the next.
fn behind(sort: &[(ImageSortKey, SortDirection)], row: &image::Model) -> Condition {
    let mut any = Condition::any();
    let mut equal = Condition::all();
    for (key, direction) in sort {
        let (expression, value) = (key.expression(), Expr::value(key.value(row)));
        let further = match direction {
            SortDirection::Ascending => expression.clone().gt(value.clone()),
            SortDirection::Descending => expression.clone().lt(value.clone()),
        };
        any = any.add(equal.clone().add(further));
        equal = equal.add(expression.eq(value));
    }
    any
}

const fn order(direction: SortDirection) -> Order {
    match direction {
        SortDirection::Ascending => Order::Asc,
        SortDirection::Descending => Order::Desc,
    }
}

impl ImageSortKey {
    /// NULL sorts differently in each database and compares with nothing, so it gets a value.
    fn expression(self) -> Expr {
        let column = match self {
            Self::Name => image::Column::Name,
            Self::Status => image::Column::Status,
            Self::ContainerFormat => image::Column::ContainerFormat,
            Self::DiskFormat => image::Column::DiskFormat,
            Self::Id => return Expr::col(image::Column::Id),
            Self::CreatedAt => return Expr::col(image::Column::CreatedAt),
            Self::UpdatedAt => return Expr::col(image::Column::UpdatedAt),
            Self::Size => {
                return Func::coalesce([Expr::col(image::Column::Size), Expr::value(-1_i64)])
                    .into();
            }
        };
        Func::coalesce([Expr::col(column), Expr::value("")]).into()
    }

    fn value(self, row: &image::Model) -> Value {
        match self {
            Self::Name => row.name.clone().unwrap_or_default().into(),
            Self::Status => row.status.clone().into(),
            Self::ContainerFormat => row.container_format.clone().unwrap_or_default().into(),
            Self::DiskFormat => row.disk_format.clone().unwrap_or_default().into(),
            Self::Size => row.size.unwrap_or(-1).into(),
            Self::Id => row.id.clone().into(),
            Self::CreatedAt => row.created_at.into(),
            Self::UpdatedAt => row.updated_at.into(),
        }
    }
}
