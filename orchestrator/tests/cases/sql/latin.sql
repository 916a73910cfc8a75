select 'café'
